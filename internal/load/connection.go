package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A connection is dialled by the engine and used by one goroutine at a time.
type connection struct {
	net.Conn
	owner *dialer
	id    uint64
	// answer counts the bytes read since the last request was sent, requests
	// the requests sent.
	answer   int64
	requests int
	readErr  error // of the last Read
	// patience, where set, is how long each read may take; otherwise the
	// deadline of the request holds for all of them.
	patience time.Duration
	*buffers
}

// The buffers of a connection are reused.
type buffers struct {
	reader   *bufio.Reader
	buffer   []byte
	outgoing []byte
}

// Read implements io.Reader for reader.
func (c *connection) Read(p []byte) (int, error) {
	if c.patience > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.answer += int64(n)
	c.readErr = err
	return n, err
}

// Close closes the connection and gives its buffers back.
func (c *connection) Close() error {
	c.wake()
	c.reader.Reset(nil)
	c.owner.buffers.Put(c.buffers)
	c.buffers = nil
	return c.owner.release(c.Conn, c.id)
}

// park gives the buffers back until wake, if nothing is in them: most of many
// connections that are kept are idle.
func (c *connection) park() {
	if c.buffers != nil && c.reader.Buffered() == 0 {
		c.reader.Reset(nil)
		c.owner.buffers.Put(c.buffers)
		c.buffers = nil
	}
}

// wake makes a parked connection ready for its next request.
func (c *connection) wake() {
	if c.buffers == nil {
		c.buffers = c.owner.buffers.Get().(*buffers)
		c.reader.Reset(c)
	}
}

// locate adds to a broken connection's error how far the answer had come:
// nothing at all is another fault than half an answer. Half a header is told
// as what broke it, not as bad syntax.
func (c *connection) locate(err error) error {
	if c.readErr != nil && classify(err) == Other {
		err = fmt.Errorf("%w: %w", c.readErr, err)
	}
	return fmt.Errorf("%w (after %d bytes of the answer to request %d on the connection)", err, c.answer, c.requests)
}

// errUnasked is the state of a connection on which the server said something
// before it was asked.
var errUnasked = errors.New("the server sent bytes before it was asked")

// idle looks, without waiting, at what the server did since the last answer:
// nil when nothing, io.EOF when it closed the connection.
func (c *connection) idle() error {
	if c.reader.Buffered() > 0 {
		return errUnasked
	}
	var n int
	var err error
	if encrypted, ok := c.Conn.(*tls.Conn); ok {
		n, err = readArrived(encrypted, c.buffer[:1])
	} else {
		n, err = receiveNow(c.Conn, c.buffer[:1], unix.MSG_PEEK)
	}
	switch {
	case errors.Is(err, errNothingArrived):
		return nil
	case err != nil:
		return err
	case n > 0:
		return errUnasked
	}
	return io.EOF
}

// errNothingArrived is the result of a read that does not wait. TLS must find it
// temporary, since it may read on later.
var errNothingArrived net.Error = nothingArrived{}

type nothingArrived struct{}

func (nothingArrived) Error() string   { return "nothing has arrived" }
func (nothingArrived) Timeout() bool   { return true }
func (nothingArrived) Temporary() bool { return true }

// receiveNow reads what has arrived on a connection of package net, without
// waiting (recv(2)). At the end of the stream it returns 0 and no error.
func receiveNow(c net.Conn, p []byte, flags int) (n int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var inner error
	err = raw.Read(func(fd uintptr) bool {
		n, _, inner = unix.Recvfrom(int(fd), p, flags|unix.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(inner, unix.EAGAIN), errors.Is(inner, unix.EINTR):
		return 0, errNothingArrived
	}
	return max(n, 0), inner
}

// closeWrite tells the server that no more requests come.
func (c *connection) closeWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// lingerTime is how long the server may take to close a connection after it
// said that it will.
const lingerTime = 100 * time.Millisecond

// finish closes a connection whose last answer is complete. Where the server
// said that it closes, it goes first: its side keeps the TIME-WAIT, and what
// it does instead of closing is seen.
func (c *connection) finish(serverCloses bool) error {
	defer c.Close()
	if !serverCloses {
		return nil
	}
	c.patience = 0
	if err := c.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return err
	}
	switch _, err := c.reader.ReadByte(); {
	case err == nil:
		return fail(Body, "bytes after the end of the answer")
	case errors.Is(err, io.EOF), isTimeout(err):
		return nil
	default:
		return err
	}
}

// A dialer makes the connections of one Traffic and can interrupt them all.
type dialer struct {
	target  target
	dialers []net.Dialer // one per source address
	tls     *tls.Config  // nil: none
	// instead is Config.Dial, where set.
	instead func(ctx context.Context, network, address string) (net.Conn, error)
	next    atomic.Uint64
	live    [liveShards]liveSet
	buffers sync.Pool // of *buffers
}

// liveShards is the number of locks that share the bookkeeping of connections.
const liveShards = 8

func newDialer(t target, connectionsPerSecond float64, kept int) *dialer {
	d := &dialer{target: t, dialers: []net.Dialer{{KeepAlive: -1}}}
	if addr, err := netip.ParseAddrPort(t.address); t.network == "tcp" && err == nil {
		for i, source := range sources(addr.Addr(), connectionsPerSecond, kept, ephemeralPorts()) {
			local := net.Dialer{
				KeepAlive: -1,
				LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)),
				Control:   bindWithoutPort,
			}
			d.dialers = append(d.dialers[:i], local)
		}
	}
	d.buffers.New = func() any { return &buffers{reader: bufio.NewReader(nil), buffer: make([]byte, 4096)} }
	return d
}

// dial connects before deadline; the deadline stays set on the connection.
func (d *dialer) dial(ctx context.Context, deadline time.Time) (*connection, error) {
	raw, id, err := d.connect(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, owner: d, id: id, buffers: d.buffers.Get().(*buffers)}
	c.reader.Reset(c)
	return c, nil
}

// connect makes a connection before deadline, which stays set on it, with TLS
// where the target wants it. Whoever takes it closes it by release.
func (d *dialer) connect(ctx context.Context, deadline time.Time) (c net.Conn, id uint64, err error) {
	id = d.next.Add(1)
	raw, err := d.open(ctx, id, deadline)
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, 0, fmt.Errorf("%w (this side has no free port left: lower the rate, or let the server close first)", err)
	case errors.Is(err, unix.EMFILE):
		return nil, 0, fmt.Errorf("%w (this side: raise `ulimit -n` or lower the rate)", err)
	case err != nil:
		return nil, 0, err
	}
	d.live[id%liveShards].add(raw)
	c = raw
	// After add: whoever interrupts has either seen the connection or has
	// ended ctx before this looks at it.
	if err = ctx.Err(); err == nil {
		err = raw.SetDeadline(deadline)
	}
	if err == nil && d.tls != nil {
		c, err = d.shakeHands(ctx, raw)
	}
	if err != nil {
		d.release(raw, id)
		return nil, 0, err
	}
	return c, id, nil
}

// release closes a connection that connect has made.
func (d *dialer) release(c net.Conn, id uint64) error {
	d.live[id%liveShards].remove(bottom(c))
	return c.Close()
}

// open makes the connection with number id.
func (d *dialer) open(ctx context.Context, id uint64, deadline time.Time) (net.Conn, error) {
	if d.instead != nil {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		return d.instead(ctx, d.target.network, d.target.address)
	}
	dialer := d.dialers[id%uint64(len(d.dialers))]
	dialer.Deadline = deadline
	return dialer.DialContext(ctx, d.target.network, d.target.address)
}

// interrupt closes all connections under the hands of their users, once the
// context of dial has ended.
func (d *dialer) interrupt() {
	for i := range d.live {
		d.live[i].interrupt()
	}
}

// A liveSet is a part of the connections that are open.
type liveSet struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (s *liveSet) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[net.Conn]struct{}{}
	}
	s.open[c] = struct{}{}
}

func (s *liveSet) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *liveSet) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}
