package service

import (
	"net"
	"sync/atomic"
	"time"
)

// sojournStep is for how long one reading of no sojourn holds for the
// connections after it: half of the first bucket of the histogram.
const sojournStep = time.Millisecond / 2

// A sojourn tells how long the connections of one listener had waited in its
// accept queue. It may be used concurrently.
//
// The queue is first in, first out. A connection that is accepted right after
// one that had not waited came after that one, so it cannot have waited longer
// than the time between the two. Therefore a listener whose queue is empty asks
// the kernel at most 2,000 times a second, and one whose queue stands for each
// connection.
type sojourn struct {
	start time.Time
	none  atomic.Int64 // until when, since start, nothing has waited
	// read asks the kernel; ok is false if it does not tell.
	read func(*net.TCPConn) (waited time.Duration, ok bool)
}

// newSojourn returns nil where the kernel does not tell: for listeners that are
// not TCP, and on systems that are not Linux.
func newSojourn(l streamListener) *sojourn {
	r := newSojournReader(l)
	if r == nil {
		return nil
	}
	return &sojourn{start: time.Now(), read: r.read}
}

// of returns how long c, which was accepted just now, had waited, or
// unknownSojourn.
func (s *sojourn) of(c *net.TCPConn, now time.Time) time.Duration {
	if s == nil {
		return unknownSojourn
	}
	at := now.Sub(s.start)
	if at < time.Duration(s.none.Load()) {
		return 0
	}
	waited, ok := s.read(c)
	switch {
	case !ok:
		return unknownSojourn
	case waited == 0:
		s.none.Store(int64(at + sojournStep))
	}
	return waited
}
