package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What this side tells the server in its first frames: how much it may send
// before it hears that it was read. It is read at once.
const (
	streamWindow     = 1 << 20
	connectionWindow = 1 << 28
)

// What holds of a server until it has said otherwise (RFC 9113, 6.5.2). It may
// have as many streams as it likes then; this side is as careful as other
// clients are.
const (
	firstWindow  = 65_535
	firstStreams = 100
	firstFrame   = 16_384
)

// A multiplex is one connection of HTTP/2 that the engine dialled. It decides
// nothing on its own: nothing is sent twice, and the end of a stream is told to
// whoever opened it. Its methods may be called concurrently.
//
// It is written on the frames themselves, because a client library does not
// tell which requests a server gave up.
type multiplex struct {
	conn    net.Conn
	id      uint64
	owner   *dialer
	timeout time.Duration // of a write
	reading sync.WaitGroup

	writing sync.Mutex // held while frames are written; taken before mu
	framer  *http2.Framer
	out     *bufio.Writer
	encoder *hpack.Encoder
	block   bytes.Buffer // of encoder

	mu      sync.Mutex
	streams map[uint32]*stream
	next    uint32        // id of the next stream
	changed chan struct{} // closed when more may be sent than before
	broken  error         // why nothing more can be sent; nil while it can
	failure error         // why nothing more comes; nil while it may
	settled bool          // the server has sent its settings, and so speaks HTTP/2
	leaving *http2.GoAwayFrame
	// idleFailure is the failure if no request was there to have it.
	idleFailure error
	most        uint32 // streams that the server has at a time
	frame       int    // the most that a frame may carry
	window      int64  // what may be sent of bodies
	first       int64  // what may be sent of a new stream's
	unread      int64  // received, and the server does not know that it was read
}

// multiplex connects before deadline and says hello. It must be closed.
func (l *loop) multiplex(ctx context.Context, deadline time.Time) (*multiplex, error) {
	conn, id, err := l.dialer.connect(ctx, deadline)
	if err != nil {
		return nil, err
	}
	l.connections.Add(1)
	m := newMultiplex(conn, l.config.Timeout)
	m.owner, m.id = l.dialer, id
	if err := m.greet(); err != nil {
		m.owner.release(conn, id)
		return nil, err
	}
	m.reading.Go(m.read)
	return m, nil
}

func newMultiplex(conn net.Conn, timeout time.Duration) *multiplex {
	m := &multiplex{
		conn: conn, timeout: timeout, out: bufio.NewWriter(conn),
		streams: map[uint32]*stream{}, next: 1, changed: make(chan struct{}),
		most: firstStreams, frame: firstFrame, window: firstWindow, first: firstWindow,
	}
	m.framer = http2.NewFramer(m.out, bufio.NewReader(conn))
	m.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	m.framer.SetMaxReadFrameSize(firstFrame)
	m.framer.SetReuseFrames()
	m.encoder = hpack.NewEncoder(&m.block)
	return m
}

// greet sends the preface (RFC 9113, 3.4); from then on reads may take any time.
func (m *multiplex) greet() error {
	return m.write(func() error {
		if err := m.conn.SetDeadline(time.Time{}); err != nil {
			return err
		}
		if _, err := io.WriteString(m.out, http2.ClientPreface); err != nil {
			return err
		}
		err := m.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		)
		if err != nil {
			return err
		}
		return m.framer.WriteWindowUpdate(0, connectionWindow-firstWindow)
	})
}

// greeted returns when the server has said hello as well, or why it does not.
func (m *multiplex) greeted(deadline time.Time) error {
	limit := time.NewTimer(time.Until(deadline))
	defer limit.Stop()
	for {
		m.mu.Lock()
		settled, failure, changed := m.settled, m.failure, m.changed
		m.mu.Unlock()
		if settled || failure != nil {
			return failure
		}
		select {
		case <-changed:
		case <-limit.C:
			return fmt.Errorf("%w: the server does not say that it speaks HTTP/2", os.ErrDeadlineExceeded)
		}
	}
}

// write has frames written and sent. A failure breaks the connection, since a
// part of a frame may have gone out.
func (m *multiplex) write(frames func() error) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.writeLocked(frames)
}

// writeLocked is write for one who holds writing.
func (m *multiplex) writeLocked(frames func() error) error {
	err := m.conn.SetWriteDeadline(time.Now().Add(m.timeout))
	if err == nil {
		err = frames()
	}
	if err == nil {
		err = m.out.Flush()
	}
	if err != nil {
		m.breakOff(err)
	}
	return err
}

// breakOff notes that nothing more can be sent. What has arrived is still read:
// there the server may have said which requests it will not process.
func (m *multiplex) breakOff(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil || m.failure != nil {
		return
	}
	m.broken = err
	m.conn.SetReadDeadline(time.Now().Add(lingerTime)) //nolint:errcheck // fails only once closed
	m.announce()
}

// fail ends all streams: nothing more is sent, and nothing comes.
func (m *multiplex) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return
	}
	if m.broken != nil && isTimeout(err) {
		err = m.broken
	}
	if m.leaving != nil && m.leaving.ErrCode != http2.ErrCodeNo {
		err = fmt.Errorf("%w (after GOAWAY with %v)", err, m.leaving.ErrCode)
	}
	m.failure = err
	if len(m.streams) == 0 && m.leaving == nil && !errors.Is(err, io.EOF) {
		m.idleFailure = err
	}
	for _, x := range m.streams {
		m.end(x, x.locate(err))
	}
	m.conn.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // fails only once closed
	m.announce()
}

// end gives a stream its end, which is nil for a whole answer; mu is held.
func (m *multiplex) end(x *stream, err error) {
	delete(m.streams, x.id)
	x.err = err
	close(x.done)
}

// announce wakes those who wait for leave to send; mu is held.
func (m *multiplex) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// usable reports whether new requests may be sent.
func (m *multiplex) usable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failure == nil && m.broken == nil && m.leaving == nil && m.next < math.MaxInt32
}

// brokenIdle is why the connection broke between two requests, if it did so
// in another way than by being closed.
func (m *multiplex) brokenIdle() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.idleFailure
}

// close takes leave, gives the server lingerTime to close as well, and returns
// when nobody reads any more.
func (m *multiplex) close() {
	m.mu.Lock()
	over := m.failure != nil || m.broken != nil
	m.mu.Unlock()
	if !over {
		m.write(func() error { return m.framer.WriteGoAway(0, http2.ErrCodeNo, nil) }) //nolint:errcheck // it is closed anyway
		if half, ok := m.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			m.conn.SetReadDeadline(time.Now().Add(lingerTime)) //nolint:errcheck // fails only once closed
			m.reading.Wait()
		}
	}
	m.owner.release(m.conn, m.id)
	m.reading.Wait()
}
