package service

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// goAwayGrace is how long an HTTP/2 connection stays open after its client was
// told to go and its last stream ended; net/http uses the same time.
const goAwayGrace = time.Second

// goAwayFrame is GOAWAY with the highest stream number and no error: open no
// further streams; those that are on their way will be served (RFC 9113, 6.8).
func goAwayFrame() []byte {
	return []byte{
		0, 0, 8, // length
		7,          // GOAWAY
		0,          // flags
		0, 0, 0, 0, // stream 0, the connection
		0x7f, 0xff, 0xff, 0xff, // last stream
		0, 0, 0, 0, // NO_ERROR
	}
}

// A goAway follows what is written to a connection, frame by frame, and can put
// a GOAWAY between two of them. A connection whose first byte is not that of a
// SETTINGS frame does not speak HTTP/2 and is left alone.
type goAway struct {
	asked atomic.Bool
	told  atomic.Int64 // when GOAWAY was written, Unix nanoseconds; 0: not yet
	http2 atomic.Bool

	mu      sync.Mutex
	w       io.Writer // the connection; nil before the first write
	written frames

	incoming frames      // of the reader only
	partial  atomic.Bool // the client has sent a part of something
}

// read follows what the client sent. Reads of a connection do not overlap.
func (g *goAway) read(b []byte) {
	g.incoming.follow(b)
	g.partial.Store(!g.incoming.whole())
}

// write writes b and then, if it was asked for and a frame ends here, GOAWAY.
func (g *goAway) write(w io.Writer, b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil && len(b) > 0 {
		g.w = w
		// The length of a SETTINGS frame is far below 65536; HTTP/1 begins
		// with a letter.
		g.http2.Store(b[0] == 0)
	}
	n, err := w.Write(b)
	if g.http2.Load() {
		g.written.follow(b[:n])
		if err == nil {
			g.flush()
		}
	}
	return n, err
}

// flush writes GOAWAY once, if it was asked for and this is a place for it.
func (g *goAway) flush() {
	between := g.http2.Load() && g.written.between()
	if between && g.asked.Load() && g.told.Load() == 0 {
		g.told.Store(time.Now().UnixNano())
		// An error shows in the next write of the server.
		_, _ = g.w.Write(goAwayFrame())
	}
}

// ask has GOAWAY written at the next opportunity, and reports whether that was
// new. It does not wait: if the client does not read, the write ends when the
// connection is closed.
func (g *goAway) ask() (first bool) {
	if g.asked.Swap(true) {
		return false
	}
	go func() { // ends with the write, at the latest when the connection is closed
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flush()
	}()
	return true
}
