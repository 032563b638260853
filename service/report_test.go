package service

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/fdpass"
)

// A reportRig is a reporter whose listeners accept nothing by themselves.
type reportRig struct {
	*reporter
	packets [][]string // the names in each packet
	last    map[string]fdpass.ListenerStats
}

func newReportRig(names ...string) *reportRig {
	rig := &reportRig{last: make(map[string]fdpass.ListenerStats)}
	var endpoints []*endpoint
	for _, name := range names {
		endpoints = append(endpoints, &endpoint{name: name, listener: &listener{conns: newRegistry()}})
	}
	rig.reporter = newReporter(endpoints, func(m fdpass.Message) {
		var names []string
		for _, l := range m.(fdpass.Stats).Listeners {
			names = append(names, l.Name)
			rig.last[l.Name] = l
		}
		rig.packets = append(rig.packets, names)
	})
	return rig
}

func (r *reportRig) accept(i int) *tracked {
	t := &tracked{accepted: time.Now()}
	r.listeners[i].listener.conns.add(t, unknownSojourn)
	return t
}

// tick lets the interval pass and returns the names that are sent then.
func (r *reportRig) tick(interval time.Duration) string {
	time.Sleep(interval) // of the bubble's clock
	r.packets = nil
	r.news(interval)
	return strings.Join(slices.Concat(r.packets...), " ")
}

// TestStatsAreSentWhenTheyChange: within the interval, and once a second
// besides.
func TestStatsAreSentWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 100 * time.Millisecond
		r := newReportRig("a", "b")
		var c *tracked
		for i, step := range []struct {
			do   func()
			want string
		}{
			{nil, "a b"}, // nothing was sent before
			{nil, ""},
			{func() { c = r.accept(1) }, "b"},
			{nil, ""},
			{func() { r.accept(0); c.closed() }, "a b"},
			{func() { countAnswer(c) }, "b"}, // its connection is gone already
			{nil, ""},
		} {
			if step.do != nil {
				step.do()
			}
			if got := r.tick(interval); got != step.want {
				t.Errorf("step %d: sent %q, want %q", i, got, step.want)
			}
		}
		if b := r.last["b"]; b.Accepted != 1 || b.Active != 0 || b.Answered != 1 {
			t.Errorf("%+v", b)
		}
		// a was sent 200 ms ago, b 100 ms ago.
		var sent []string
		for range 10 {
			sent = append(sent, r.tick(interval))
		}
		if want := []string{7: "a", 8: "b", 9: ""}; !slices.Equal(sent, want) {
			t.Errorf("in a quiet second: %q, want %q", sent, want)
		}
		r.packets = nil
		r.all()
		if got := fmt.Sprint(r.packets); got != "[[a b]]" {
			t.Errorf("at the end: %s", got)
		}
	})
}

// TestStatsAreNeverOlderThanASecond whatever the interval, unless that is longer.
func TestStatsAreNeverOlderThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, interval := range []time.Duration{time.Millisecond, 70 * time.Millisecond, 400 * time.Millisecond, time.Second, time.Minute} {
			r := newReportRig("a")
			r.tick(interval)
			last := time.Now()
			for range 3000 {
				if r.tick(interval) == "" {
					continue
				}
				if gap := time.Since(last); gap > max(interval, statsAtLeast+20*time.Millisecond) || gap < min(interval, statsAtLeast/2) {
					t.Fatalf("interval %v: %v between two", interval, gap)
				}
				last = time.Now()
			}
		}
	})
}

// TestStatsDoNotFlood: a child with very many busy listeners would be taken for
// one that floods its channel.
func TestStatsDoNotFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := make([]string, 1500)
		for i := range names {
			names[i] = fmt.Sprintf("%s%d", strings.Repeat("n", 200), i)
		}
		r := newReportRig(names...)
		start, packets := time.Now(), 0
		for time.Since(start) < 3*time.Second {
			for i := range names {
				r.accept(i)
			}
			r.tick(100 * time.Millisecond)
			packets += len(r.packets)
		}
		if packets < 150 || packets > 320 {
			t.Errorf("%d packets in 3 s", packets)
		}
	})
}

// TestFirstStatsComeWithinTheInterval of a candidate that has accepted.
func TestFirstStatsComeWithinTheInterval(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	f.stats = 20 * time.Millisecond
	c := f.start(Config{}, serveEcho)
	receiveStats(c, func() bool { return c.stats["echo"].Name != "" })
	var open []net.Conn
	for i := range 3 {
		open = append(open, dial(t, f.addr()))
		roundTrip(t, open[i])
		start := time.Now()
		receiveStats(c, func() bool { return c.stats["echo"].Accepted == uint64(i+1) })
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("told after %v", took)
		}
	}
	c.service.cut()
	for _, o := range open {
		o.Close()
	}
	receiveStats(c, func() bool { return c.stats["echo"].Active == 0 })
}

// BenchmarkIdleTick is what the statistics of a service cost at a tick on which
// nothing has happened.
func BenchmarkIdleTick(b *testing.B) {
	r := newReportRig("http")
	r.all()
	b.ReportAllocs()
	for b.Loop() {
		r.listeners[0].at, r.notBefore = time.Now(), time.Time{}
		r.news(100 * time.Millisecond)
	}
}
