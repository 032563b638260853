package service

import (
	"net"
	"testing"
	"time"
)

// TestSojournAsksNoMoreThanItMust: after a connection that had not waited none
// can have waited for a while, because the queue is first in, first out.
func TestSojournAsksNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	const us, ms = time.Microsecond, time.Millisecond
	start := time.Now()
	var (
		asked  int
		waited time.Duration
		known  = true
	)
	s := &sojourn{start: start, read: func(*net.TCPConn) (time.Duration, bool) {
		asked++
		return waited, known
	}}
	for _, step := range []struct {
		at     time.Duration // since the start
		waited time.Duration // what the kernel would say
		known  bool
		want   time.Duration
		asks   bool
	}{
		{0, 0, true, 0, true}, // the first one always
		{100 * us, 50 * ms, true, 0, false},
		{499 * us, 50 * ms, true, 0, false},
		{500 * us, 50 * ms, true, 50 * ms, true}, // a reading, not a guess, begins the next while
		{510 * us, 46 * ms, true, 46 * ms, true}, // the queue stands: each is asked for
		{520 * us, 0, false, unknownSojourn, true},
		{530 * us, 0, true, 0, true},
		{540 * us, 0, true, 0, false},
		{time.Hour, 4 * ms, true, 4 * ms, true},
	} {
		waited, known = step.waited, step.known
		before := asked
		if got := s.of(nil, start.Add(step.at)); got != step.want || (asked > before) != step.asks {
			t.Errorf("at %v: %v, asked %v; want %v, %v", step.at, got, asked > before, step.want, step.asks)
		}
	}
	if got := (*sojourn)(nil).of(nil, start); got != unknownSojourn {
		t.Errorf("without a reader: %v", got)
	}
}
