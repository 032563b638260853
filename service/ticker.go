package service

import (
	"sync/atomic"
	"time"
)

// lullAfter is how many ticks without news make a lull. In a lull there is one
// tick a second, because each wakes the process.
const lullAfter = 20

// A statsTicker ticks at the interval that the supervisor asked for, and rarely
// while there is nothing to tell.
type statsTicker struct {
	ticker   *time.Ticker
	c        <-chan time.Time // nil: never
	interval time.Duration    // while there is something to tell
	lull     *lull
	idle     int // ticks in a row without news
}

func newStatsTicker(ms int64, l *lull) *statsTicker {
	t := &statsTicker{interval: time.Duration(ms) * time.Millisecond, lull: l}
	if t.interval > 0 {
		t.ticker = time.NewTicker(t.interval)
		t.c = t.ticker.C
	}
	return t
}

// next is how long the next tick takes.
func (t *statsTicker) next() time.Duration {
	if t.idle >= lullAfter {
		return max(t.interval, statsAtLeast)
	}
	return t.interval
}

// heard takes whether there was news at the last tick.
func (t *statsTicker) heard(news bool) {
	if news {
		t.wake()
		return
	}
	switch t.idle++; t.idle {
	case lullAfter - 1: // a tick before, so that nobody slips in between
		t.lull.begin()
	case lullAfter:
		t.ticker.Reset(t.next())
	}
}

// wake ends a lull.
func (t *statsTicker) wake() {
	t.lull.end()
	if t.idle >= lullAfter && t.ticker != nil {
		t.ticker.Reset(t.interval)
	}
	t.idle = 0
}

// hasten ticks at the interval of a service that drains.
func (t *statsTicker) hasten() {
	if t.ticker != nil {
		t.wake()
		t.interval = min(t.interval, drainingStats)
		t.ticker.Reset(t.interval)
	}
}

func (t *statsTicker) stop() {
	if t.ticker != nil {
		t.ticker.Stop()
	}
}

// A lull is a time in which nothing happens on any listener. Who accepts a
// connection ends it.
type lull struct {
	on    atomic.Bool
	ended chan struct{} // of one element
}

func newLull() *lull { return &lull{ended: make(chan struct{}, 1)} }

func (l *lull) begin() { l.on.Store(true) }

func (l *lull) end() { l.on.Store(false) }

// stir ends the lull, if there is one. It does nothing to no lull at all.
func (l *lull) stir() {
	if l == nil || !l.on.Load() || !l.on.Swap(false) {
		return
	}
	select {
	case l.ended <- struct{}{}:
	default: // said already
	}
}
