package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var (
	// errUntouched is in the error of a request of which the server said that
	// it did nothing with it: it may be sent again.
	errUntouched = errors.New("the server did not process the request")
	// errUnsent is the error of a request that was not sent, because the
	// connection could not take it any more.
	errUnsent = errors.New("the connection takes no more requests")
	// errStreamReset is in the error of a request that the server gave up.
	errStreamReset = errors.New("the stream was reset by the server")
)

// A stream is one request on a connection of HTTP/2 and the answer to it. The
// connection's mu guards it until done is closed.
type stream struct {
	id         uint32
	body       bodyCheck
	generation string // the name of the header, then its value
	headed     bool
	status     int
	length     int64 // that the head named; -1 for none
	got        int64 // bytes of the answer
	unread     int64 // as multiplex.unread
	window     int64 // what may be sent of the body
	limit      *time.Timer
	patience   time.Duration // as connection.patience
	done       chan struct{}
	err        error // of the connection or the stream; read after done
}

// exchange sends one request and awaits the answer until deadline, or with
// patience until the server is silent for so long.
func (m *multiplex) exchange(s *script, number uint64, deadline time.Time, patience time.Duration) (answer, error) {
	_, payload := s.write(nil, number)
	x := &stream{
		body: s.expects(payload), generation: s.header, length: -1, done: make(chan struct{}),
		patience: patience, limit: time.NewTimer(time.Until(deadline)),
	}
	if s.Method == http.MethodHead {
		x.length = noLength
	}
	defer x.limit.Stop()
	if err := m.open(x, s.fields, len(payload) == 0); err != nil {
		return answer{}, err
	}
	sent, err := m.sendBody(x, payload)
	if err == nil {
		err = m.await(x)
	}
	if err != nil {
		m.cancel(x)
		return answer{}, err
	}
	if !sent && x.err == nil { // answered before all was asked
		m.reset(x)
	}
	a := answer{whole: x.err == nil}
	if x.headed {
		a.generation = x.generation
		if x.status != s.Status {
			return a, fail(Status, "status %d %s, want %d: %s", x.status, http.StatusText(x.status), s.Status, x.body.start())
		}
	}
	return a, cmp.Or(x.err, x.body.verdict(s.BodyBytes))
}

// open sends the head of a request, as soon as the server has room for another
// stream.
func (m *multiplex) open(x *stream, fields []hpack.HeaderField, last bool) error {
	for {
		changed, err := m.openNow(x, fields, last)
		if changed == nil || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-x.limit.C:
			return fmt.Errorf("%w: the server has no room for another stream", os.ErrDeadlineExceeded)
		}
	}
}

// openNow opens x, or returns what is closed when it should be tried again.
// Streams must be opened in the order of their ids: nobody writes in between.
func (m *multiplex) openNow(x *stream, fields []hpack.HeaderField, last bool) (changed <-chan struct{}, err error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	switch {
	case m.failure != nil || m.broken != nil || m.leaving != nil:
		err = errUnsent
	case len(m.streams) >= int(m.most):
		changed = m.changed
	default:
		x.id, x.window = m.next, m.first
		m.next += 2
		m.streams[x.id] = x
	}
	frame := m.frame
	m.mu.Unlock()
	if changed != nil || err != nil {
		return changed, err
	}
	// A failure ends the stream, when what has arrived is read.
	m.writeLocked(func() error { return m.writeHead(x.id, fields, last, frame) }) //nolint:errcheck // see above
	return nil, nil
}

func (m *multiplex) writeHead(id uint32, fields []hpack.HeaderField, last bool, frame int) error {
	m.block.Reset()
	for _, f := range fields {
		if err := m.encoder.WriteField(f); err != nil {
			return err
		}
	}
	block := m.block.Bytes()
	first := block[:min(len(block), frame)]
	block = block[len(first):]
	err := m.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: last, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		part := block[:min(len(block), frame)]
		block = block[len(part):]
		err = m.framer.WriteContinuation(id, len(block) == 0, part)
	}
	return err
}

// sendBody sends a body as fast as the server takes it, and reports whether all
// of it was sent before the stream ended.
func (m *multiplex) sendBody(x *stream, body []byte) (all bool, err error) {
	for len(body) > 0 {
		n, changed := m.reserve(x, len(body))
		if n > 0 {
			part := body[:n]
			body = body[n:]
			m.write(func() error { return m.framer.WriteData(x.id, len(body) == 0, part) }) //nolint:errcheck // ends the stream
			continue
		}
		select {
		case <-x.done:
			return false, nil
		case <-changed:
		case <-x.limit.C:
			return false, fmt.Errorf("%w: the server did not take the request's body", os.ErrDeadlineExceeded)
		}
	}
	return true, nil
}

// reserve takes some of what may be sent for at most n bytes; if it is nothing,
// changed is closed when there may be more.
func (m *multiplex) reserve(x *stream, n int) (int, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[x.id] != x || m.broken != nil {
		return 0, m.changed
	}
	n = int(max(0, min(int64(n), int64(m.frame), m.window, x.window)))
	m.window -= int64(n)
	x.window -= int64(n)
	return n, m.changed
}

// await returns when the stream has ended, or with an error at its deadline.
func (m *multiplex) await(x *stream) error {
	select {
	case <-x.done:
		return nil
	case <-x.limit.C:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.locate(os.ErrDeadlineExceeded)
}

// cancel gives up a request.
func (m *multiplex) cancel(x *stream) {
	m.mu.Lock()
	open := m.streams[x.id] == x
	if open {
		m.end(x, os.ErrDeadlineExceeded)
		m.announce()
	}
	m.mu.Unlock()
	if open {
		m.reset(x)
	}
}

// reset tells the server that a stream is of no more interest.
func (m *multiplex) reset(x *stream) {
	m.write(func() error { return m.framer.WriteRSTStream(x.id, http2.ErrCodeCancel) }) //nolint:errcheck // breaks the connection
}

// noLength is the length of an answer that has no body, whatever its head says.
const noLength = -2

// head takes the head of an answer, or its trailer.
func (x *stream) head(f *http2.MetaHeadersFrame) error {
	if x.headed {
		if !f.StreamEnded() {
			return errors.New("malformed answer: a second head")
		}
		return nil
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || status < 100 || status > 999 || f.Truncated {
		return errors.New("malformed answer: no status, or too long a head")
	}
	if status < 200 {
		if f.StreamEnded() {
			return errors.New("malformed answer: ended by an interim one")
		}
		return nil
	}
	if status == http.StatusNotModified {
		x.length = noLength
	}
	name := x.generation
	x.headed, x.status, x.generation = true, status, ""
	for _, field := range f.RegularFields() {
		switch field.Name {
		case name:
			x.generation = field.Value
		case "content-length":
			if n, err := strconv.ParseInt(field.Value, 10, 64); err == nil && n >= 0 && x.length != noLength {
				x.length = n
			}
		}
	}
	return nil
}

// complete judges an answer that the server says is whole.
func (x *stream) complete() error {
	switch {
	case !x.headed:
		return x.locate(errors.New("malformed answer: no head"))
	case x.length >= 0 && x.body.n != x.length:
		return x.locate(fmt.Errorf("%w: ended after %d bytes of %d", io.ErrUnexpectedEOF, x.body.n, x.length))
	}
	return nil
}

// progress notes that a part of the answer came.
func (x *stream) progress(bytes int) {
	x.got += int64(bytes)
	if x.patience > 0 {
		x.limit.Reset(x.patience)
	}
}

// locate is connection.locate for a stream.
func (x *stream) locate(err error) error {
	return fmt.Errorf("%w (after %d bytes of the answer to request %d on the connection)", err, x.got, (x.id+1)/2)
}
