package service

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pausedBit is set in gate.state while the gate is shut; the bits below count
// the calls that are inside.
const pausedBit = 1 << 62

// A gate lets calls that take something from a socket through, or holds them
// back while the service is paused. Calls that are already waiting inside the
// kernel are woken by a deadline in the past, so that the descriptor stays open
// and nothing is taken after the gate is quiet.
//
// Passing an open gate costs two atomic additions.
type gate struct {
	state atomic.Int64
	// setDeadline sets the deadline of the calls inside.
	setDeadline func(time.Time) error

	mu       sync.Mutex
	paused   bool
	closed   bool
	deadline time.Time     // the user's own; put back by resume
	open     chan struct{} // closed to make the calls outside look again
	quiet    chan struct{} // closed when no call is inside; set by pause
}

// enter waits until the gate is open. On success leave must be called. The
// error is net.ErrClosed, or os.ErrDeadlineExceeded when the user's deadline
// comes first.
func (g *gate) enter() error {
	for {
		if g.state.Add(1)&pausedBit == 0 {
			return nil
		}
		g.leave()
		if err := g.wait(); err != nil {
			return err
		}
	}
}

func (g *gate) leave() {
	if g.state.Add(-1) == pausedBit {
		g.settle()
	}
}

// settle closes quiet once the last call has left a shut gate.
func (g *gate) settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused && g.state.Load() == pausedBit && !isClosed(g.quiet) {
		close(g.quiet)
	}
}

func (g *gate) wait() error {
	g.mu.Lock()
	closed, paused, open, deadline := g.closed, g.paused, g.open, g.deadline
	g.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if !paused {
		return nil
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-open:
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

// pause shuts the gate and wakes the calls inside. The channel is closed once
// none is inside any more.
func (g *gate) pause() <-chan struct{} {
	g.mu.Lock()
	if g.paused {
		defer g.mu.Unlock()
		return g.quiet
	}
	g.paused = true
	g.open = make(chan struct{})
	quiet := make(chan struct{})
	g.quiet = quiet
	g.state.Or(pausedBit)
	// An error means that the socket is closed: then nobody waits in it.
	_ = g.setDeadline(past())
	g.mu.Unlock()
	g.settle()
	return quiet
}

// resume opens the gate unless it is closed.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.paused || g.closed {
		return
	}
	_ = g.setDeadline(g.deadline)
	g.paused = false
	g.state.And(^int64(pausedBit))
	close(g.open)
}

// close shuts the gate for good: every call outside fails with net.ErrClosed.
func (g *gate) close() {
	g.pause()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		close(g.open)
	}
}

// setUserDeadline keeps a deadline that the user set; while the gate is shut
// it counts for the calls outside.
func (g *gate) setUserDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	if !g.paused {
		return g.setDeadline(t)
	}
	if !g.closed {
		close(g.open)
		g.open = make(chan struct{})
	}
	return nil
}

// expired reports whether the user's own deadline has come.
func (g *gate) expired() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.deadline.IsZero() && !time.Now().Before(g.deadline)
}

func past() time.Time { return time.Unix(1, 0) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
