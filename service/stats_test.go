package service

import (
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDurationBuckets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		d    time.Duration
		want int
	}{
		{-time.Second, 0}, {0, 0}, {time.Millisecond - 1, 0},
		{time.Millisecond, 1}, {2*time.Millisecond - 1, 1},
		{2 * time.Millisecond, 2}, {1024 * time.Millisecond, 11},
		{(1<<22 - 1) * time.Millisecond, 22}, {1 << 22 * time.Millisecond, 23}, {1000 * time.Hour, 23},
	} {
		if got := durationBucket(test.d); got != test.want {
			t.Errorf("durationBucket(%v) = %d, want %d", test.d, got, test.want)
		}
	}
}

func TestRegistryCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry()
		var conns []*tracked
		for range 100 {
			c := &tracked{accepted: time.Now()}
			r.add(c, unknownSojourn)
			conns = append(conns, c)
			time.Sleep(time.Millisecond) // of the bubble's clock
		}
		var closers sync.WaitGroup
		for _, c := range conns[:60] {
			closers.Go(c.closed)
			closers.Go(c.closed) // a second Close counts nothing
		}
		closers.Wait()
		stats := r.snapshot("x")
		if stats.Accepted != 100 || stats.Active != 40 || stats.OldestMS != 40 || len(r.open()) != 40 {
			t.Errorf("%+v, %d open", stats, len(r.open()))
		}
		// The closed ones are 41 to 100 ms old.
		if stats.Durations[6] != 23 || stats.Durations[7] != 37 {
			t.Errorf("durations %v", stats.Durations)
		}
	})
}

func TestStatsAreSentAtTheInterval(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	f.stats = time.Hour
	c := f.start(Config{}, serveEcho)
	open := []net.Conn{dial(t, f.addr()), dial(t, f.addr())}
	for _, o := range open {
		roundTrip(t, o)
	}
	c.pause() // an hour is far: these come before the answer
	if got := c.stats["echo"]; got.Accepted != 2 || got.Active != 2 || got.OldestMS < 0 {
		t.Errorf("before paused: %+v", got)
	}
	c.beginDrain(20*time.Second, false)
	open[0].Close()
	eventually(t, "one connection is left", func() bool { return c.service.stats().Listeners[0].Active == 1 })
	receiveStats(c, func() bool { return c.stats["echo"].Active == 1 }) // faster while draining
	open[1].Close()
	c.drained()
	got := c.stats["echo"]
	var closed uint64
	for _, n := range got.Durations {
		closed += n
	}
	if got.Accepted != 2 || got.Active != 0 || closed != 2 {
		t.Errorf("before drained: %+v", got)
	}
}

// TestHistogramsEndWithTheirLastFigure: trailing zeros are not sent, and one that is
// known to have none is still there.
func TestHistogramsEndWithTheirLastFigure(t *testing.T) {
	t.Parallel()
	r := newRegistry()
	r.sojourns = true
	if got := r.snapshot("x"); len(got.Durations) != 0 || !slices.Equal(got.Sojourn, []uint64{0}) {
		t.Errorf("at first: durations %v, sojourn %v", got.Durations, got.Sojourn)
	}
	c := &tracked{accepted: time.Now().Add(-3 * time.Millisecond)}
	r.add(c, 5*time.Millisecond)
	c.remove()
	got := r.snapshot("x")
	if n := len(got.Durations); n < 3 || got.Durations[n-1] != 1 || !slices.Equal(got.Sojourn, []uint64{0, 0, 0, 1}) {
		t.Errorf("durations %v, sojourn %v", got.Durations, got.Sojourn)
	}
	if got := newRegistry().snapshot("x").Sojourn; got != nil {
		t.Errorf("sojourn %v of who does not know", got)
	}
}
