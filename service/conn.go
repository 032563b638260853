package service

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// tracked is what the service knows of one open connection.
type tracked struct {
	conn     net.Conn // as the listener returned it
	accepted time.Time
	gone     atomic.Bool

	// Of the sweep only.
	closing bool   // the drain closes it
	seen    uint64 // reads at the last look

	// The place in the registry, under the shard's lock.
	shard      *shard
	prev, next *tracked

	// For connections that an http.Server serves.
	state  atomic.Uint32            // http.ConnState; StateNew at first
	outer  atomic.Pointer[net.Conn] // the *tls.Conn around conn, if any
	reads  atomic.Uint64            // calls of Read that gave bytes
	mark   atomic.Uint64            // reads when it became idle
	idleAt atomic.Int64             // when it became idle, Unix nanoseconds
	goAway atomic.Pointer[goAway]   // if the connection may speak HTTP/2
}

// expectHTTP2 prepares the end of a connection that may speak HTTP/2.
func (t *tracked) expectHTTP2() *goAway {
	g := &goAway{incoming: frames{payload: clientPreface}}
	t.goAway.Store(g)
	return g
}

// speaksHTTP2 returns what can tell an HTTP/2 client to go, or nil.
func (t *tracked) speaksHTTP2() *goAway {
	if g := t.goAway.Load(); g != nil && g.http2.Load() {
		return g
	}
	return nil
}

// closed is called by Close of the connection, any number of times.
func (t *tracked) closed() {
	if !t.gone.Swap(true) {
		t.remove()
	}
}

// beginClose closes the connection through the layer that the program sees, so
// that a TLS client is told. That may take crypto/tls five seconds if the client
// does not read, so it is done aside, in a goroutine that closers joins. Until
// it is done the connection counts as open; closing t.conn cuts it short.
func (t *tracked) beginClose(closers *sync.WaitGroup) {
	t.closing = true
	outer := t.outer.Load()
	if outer == nil {
		_ = t.conn.Close()
		return
	}
	closers.Go(func() {
		_ = (*outer).Close()
		_ = t.conn.Close()
	})
}

// noteRead records that b was read from the connection.
func (t *tracked) noteRead(b []byte) {
	t.reads.Add(1)
	if g := t.goAway.Load(); g != nil && t.outer.Load() == nil {
		g.read(b)
	}
}

// note records what an http.Server says of the connection c, which is ours or
// a *tls.Conn around it.
func (t *tracked) note(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if c != t.conn {
			t.outer.Store(&c)
		}
	case http.StateIdle:
		t.mark.Store(t.reads.Load())
		t.idleAt.Store(time.Now().UnixNano())
	}
	t.state.Store(uint32(state))
}

// trackedOf finds the connection of ours inside c.
func trackedOf(c net.Conn) *tracked {
	for c != nil {
		switch v := c.(type) {
		case *tcpConn:
			return &v.tracked
		case *unixConn:
			return &v.tracked
		case interface{ NetConn() net.Conn }: // *tls.Conn
			c = v.NetConn()
		default:
			return nil
		}
	}
	return nil
}

// A tcpConn is a *net.TCPConn that is counted. All that is not overridden here,
// CloseWrite and SyscallConn for instance, is promoted.
type tcpConn struct {
	*net.TCPConn
	tracked tracked
}

func (c *tcpConn) Write(b []byte) (int, error) {
	if g := c.tracked.goAway.Load(); g != nil && c.tracked.outer.Load() == nil {
		return g.write(c.TCPConn, b)
	}
	return c.TCPConn.Write(b)
}

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.tracked.noteRead(b[:n])
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom with sendfile and splice, as *net.TCPConn
// does, also from another connection of ours, which package net would not
// recognise.
func (c *tcpConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		inner := &io.LimitedReader{R: bareReader(limited.R), N: limited.N}
		n, err := c.TCPConn.ReadFrom(inner)
		limited.N = inner.N
		return n, err
	}
	return c.TCPConn.ReadFrom(bareReader(r))
}

// WriteTo implements io.WriterTo with splice.
func (c *tcpConn) WriteTo(w io.Writer) (int64, error) {
	switch v := w.(type) {
	case *tcpConn:
		w = v.TCPConn
	case *unixConn:
		w = v.UnixConn
	}
	return c.TCPConn.WriteTo(w)
}

func bareReader(r io.Reader) io.Reader {
	switch v := r.(type) {
	case *tcpConn:
		return v.TCPConn
	case *unixConn:
		return v.UnixConn
	}
	return r
}

// NetConn returns the *net.TCPConn. Closing that one leaves the connection
// counted as open.
func (c *tcpConn) NetConn() net.Conn { return c.TCPConn }

func (c *tcpConn) Close() error {
	err := c.TCPConn.Close()
	c.tracked.closed()
	return err
}

// A unixConn is a *net.UnixConn that is counted.
type unixConn struct {
	*net.UnixConn
	tracked tracked
}

func (c *unixConn) Write(b []byte) (int, error) {
	if g := c.tracked.goAway.Load(); g != nil && c.tracked.outer.Load() == nil {
		return g.write(c.UnixConn, b)
	}
	return c.UnixConn.Write(b)
}

func (c *unixConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if n > 0 {
		c.tracked.noteRead(b[:n])
	}
	return n, err
}

// NetConn returns the *net.UnixConn. Closing that one leaves the connection
// counted as open.
func (c *unixConn) NetConn() net.Conn { return c.UnixConn }

func (c *unixConn) Close() error {
	err := c.UnixConn.Close()
	c.tracked.closed()
	return err
}

// readable reports whether something of the peer waits to be read.
func (t *tracked) readable() bool {
	c, ok := t.conn.(syscall.Conn)
	return ok && readable(c)
}
