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

// frameHeader is the length of the header of an HTTP/2 frame; its first three
// bytes are the length of the rest (RFC 9113, 4.1).
const frameHeader = 9

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
	header  [frameHeader]byte
	have    int // bytes of header seen
	payload int // bytes of the frame's payload still to come
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
		g.follow(b[:n])
		if err == nil {
			g.flush()
		}
	}
	return n, err
}

// follow finds the end of the frames in b.
func (g *goAway) follow(b []byte) {
	for len(b) > 0 {
		if g.payload > 0 {
			n := min(g.payload, len(b))
			g.payload -= n
			b = b[n:]
			continue
		}
		n := copy(g.header[g.have:], b)
		g.have += n
		b = b[n:]
		if g.have == frameHeader {
			g.payload = int(g.header[0])<<16 | int(g.header[1])<<8 | int(g.header[2])
			g.have = 0
		}
	}
}

// flush writes GOAWAY once, if it was asked for and this is a place for it.
func (g *goAway) flush() {
	between := g.http2.Load() && g.have == 0 && g.payload == 0
	if between && g.asked.Load() && g.told.Load() == 0 {
		g.told.Store(time.Now().UnixNano())
		// An error shows in the next write of the server.
		_, _ = g.w.Write(goAwayFrame())
	}
}

// ask has GOAWAY written at the next opportunity. It does not wait: if the
// client does not read, the write ends when the connection is closed.
func (g *goAway) ask() {
	if g.asked.Swap(true) {
		return
	}
	go func() { // ends with the write, at the latest when the connection is closed
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flush()
	}()
}
