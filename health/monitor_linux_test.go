package health

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenRaw returns a listener with a short queue, and its address.
func listenRaw(t testing.TB, backlog int) (fd int, address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	return fd, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
}

func monitorOf(t testing.TB, cfg MonitorConfig) *Monitor {
	t.Helper()
	m, err := NewMonitor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// connectTo opens connections that nobody accepts.
func connectTo(t testing.TB, address string, n int) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestMonitorFollowsAQueue(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Hour})
	connectTo(t, address, 3)
	tally := m.Tally()
	defer tally.End()
	var seen []Observation
	err := m.Follow(t.Context(), time.Millisecond, func(v View) bool {
		seen = append(seen, v.Observations[0])
		return v.Observations[0].HeadKnown && v.Observations[0].Head >= 30*time.Millisecond
	})
	last := seen[len(seen)-1]
	if err != nil || last.Depth != 3 || last.Limit != 8 || last.Drops != 0 || !last.Listening {
		t.Errorf("followed to %+v: %v", last, err)
	}
	if !slices.IsSortedFunc(seen, func(a, b Observation) int { return int(a.At - b.At) }) {
		t.Error("time went back")
	}
	taken := tally.Take()
	if len(taken) != 1 || taken[0].Name != "a" || taken[0].MaxDepth != 3 || taken[0].MaxHead < 30*time.Millisecond {
		t.Errorf("tally %+v", taken)
	}
	samples := tally.Samples("a", time.Minute)
	if len(samples) == 0 || len(samples) > shownSamples || samples[len(samples)-1].Depth != 3 {
		t.Errorf("%d samples", len(samples))
	}
	if f := m.Figures(); len(f) != 1 || f[0].Waiting.Count != 3 || f[0].Limits.Target == 0 {
		t.Errorf("figures %+v", f)
	}
}

func TestMonitorLooksOftenOnlyWhileFollowed(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Hour})
	looks := 0
	if err := m.Follow(t.Context(), time.Millisecond, func(View) bool { looks++; return looks == 20 }); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.pause(); d != time.Hour {
		t.Errorf("with nobody following the next look is in %v", d)
	}
}

func TestMonitorHurriesWhereRoomIsShort(t *testing.T) {
	t.Parallel()
	m := &Monitor{cfg: MonitorConfig{}.withDefaults(), followers: map[*follower]struct{}{}}
	observe := func(o Observation) time.Duration {
		m.observations = []Observation{o}
		return m.pause()
	}
	ample := Observation{Sample: Sample{Limit: 4096, Listening: true}, Arrivals: 1000}
	if d := observe(ample); d != m.cfg.Idle {
		t.Errorf("idle pause %v", d)
	}
	m.followers[&follower{every: 5 * time.Millisecond}] = struct{}{}
	for _, c := range []struct {
		o    Observation
		want time.Duration
	}{
		{ample, 5 * time.Millisecond},
		{Observation{Sample: Sample{Limit: 127}, Arrivals: 5000}, 2560 * time.Microsecond},
		{Observation{Sample: Sample{Limit: 127, Depth: 100}, Arrivals: 5000}, time.Millisecond},
		{Observation{Sample: Sample{Limit: 127, Depth: 100}, Arrivals: -1}, time.Millisecond},
		{Observation{Sample: Sample{Limit: 127, Depth: 1}, Arrivals: -1}, 5 * time.Millisecond},
	} {
		if d := observe(c.o); d != c.want {
			t.Errorf("%+v: pause %v, want %v", c.o, d, c.want)
		}
	}
}

func TestMonitorEndsWhoFollows(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}})
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	if err := m.Follow(ctx, time.Millisecond, func(View) bool { cancel(reason); return false }); err != reason {
		t.Errorf("follow: %v, want the cause", err)
	}
	following, result := make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		result <- m.Follow(context.Background(), time.Millisecond, func(View) bool {
			if first {
				close(following)
			}
			first = false
			return false
		})
	}()
	<-following
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; err != ErrClosed {
		t.Errorf("follow: %v, want %v", err, ErrClosed)
	}
	if err := m.Follow(t.Context(), 0, func(View) bool { return true }); err != ErrClosed {
		t.Errorf("follow after close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestMonitorTellsOfATroubleOnce(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	troubles := make(chan error, 10)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Millisecond, Trouble: func(err error) { troubles <- err }})
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	if err := <-troubles; err == nil || err.Error() != "listener a does not listen any more" {
		t.Errorf("trouble %v", err)
	}
	looks := 0
	_ = m.Follow(t.Context(), time.Millisecond, func(View) bool { looks++; return looks == 5 })
	if len(troubles) > 0 {
		t.Errorf("told again: %v", <-troubles)
	}
	if f, objects := m.Objection(t.Context()); !objects || f.Reason != ReasonNotListening {
		t.Errorf("objection %v %v", f, objects)
	}
}

func TestMonitorTellsOfALoweredLimit(t *testing.T) {
	t.Parallel()
	fd, _ := listenRaw(t, 8)
	troubles := make(chan error, 10)
	monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Millisecond, Trouble: func(err error) { troubles <- err }})
	for _, limit := range []int{3, 9, 2} {
		if err := unix.Listen(fd, limit); err != nil {
			t.Fatal(err)
		}
		if limit == 9 {
			continue
		}
		if err := <-troubles; !strings.HasPrefix(err.Error(), "the limit of listener a was lowered from ") {
			t.Errorf("trouble %v", err)
		}
	}
}

func TestMonitorCountsGenerations(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Millisecond})
	connectTo(t, address, 2)
	if err := m.Follow(t.Context(), time.Millisecond, func(v View) bool { return v.Observations[0].Depth == 2 }); err != nil {
		t.Fatal(err)
	}
	m.Count(1, []Count{{Listener: "a", Accepted: 10, Finished: 8, Active: 2, Sojourn: []uint64{5, 5}}, {Listener: "made up", Accepted: 99}})
	m.Count(2, []Count{{Listener: "a", Accepted: 4, Finished: 1, Active: 3, Sojourn: []uint64{0, 0, 4}}})
	m.Count(1, []Count{{Listener: "a", Accepted: 7}}) // it lies: what was counted stays
	f := m.Figures()[0]
	if len(f.Generations) != 2 || f.Generations[0].Generation != 1 || f.Generations[1].Accepted != 4 {
		t.Errorf("generations %+v", f.Generations)
	}
	if p99, ok := f.SojournP99, f.SojournKnown; !ok || p99 != 4*time.Millisecond {
		t.Errorf("p99 %v %v, want that of all that were accepted", p99, ok)
	}
	var count Count
	var known, since bool
	_ = m.Follow(t.Context(), 0, func(v View) bool {
		count, known = v.Count(2)
		since = v.CountedSince(2, v.At+time.Hour)
		_, unknown := v.Count(3)
		known = known && !unknown
		return true
	})
	if !known || since || count.Accepted != 4 || count.Finished != 1 {
		t.Errorf("count of generation 2: %+v %v", count, known)
	}
	m.Forget(1)
	if f := m.Figures()[0]; len(f.Generations) != 1 {
		t.Errorf("generation 1 is not forgotten: %+v", f.Generations)
	}
}

func TestHistoryKeepsTheDeepest(t *testing.T) {
	t.Parallel()
	h := newHistory(1)
	for i := range 3 * historyMost {
		o := Observation{At: time.Duration(i) * time.Millisecond, HeadKnown: true}
		if i == 3*historyMost-100 {
			o.Depth = 77
		}
		h.add(o, uint64(i))
	}
	all := h.since(0, 0, 5)
	deepest := slices.MaxFunc(all, func(a, b Sampled) int { return int(a.Depth) - int(b.Depth) })
	if len(all) > shownSamples || deepest.Depth != 77 || deepest.At != (3*historyMost-100)*time.Millisecond || deepest.Drops != 3*historyMost-105 {
		t.Errorf("%d samples, the deepest %+v", len(all), deepest)
	}
	if late := h.since((3*historyMost-10)*time.Millisecond, 0, 0); len(late) != 10 {
		t.Errorf("%d samples of the last ten", len(late))
	}
	empty := newHistory(1)
	if all := empty.since(0, 0, 0); all != nil {
		t.Errorf("an empty history has %v", all)
	}
}

func TestCostIsTheLeastOfTheLast(t *testing.T) {
	t.Parallel()
	var c cost
	if d := c.pause(0.1); d != 0 {
		t.Errorf("pause %v before anything is known", d)
	}
	for range 20 {
		c.add(10 * time.Millisecond)
	}
	for _, d := range []time.Duration{2 * time.Millisecond, time.Second, time.Minute} {
		c.add(d)
		if p := c.pause(0.1); p != 20*time.Millisecond {
			t.Errorf("pause %v after %v, want ten times the least", p, d)
		}
	}
	for range 20 {
		c.add(10 * time.Millisecond)
	}
	if p := c.pause(0.1); p != 100*time.Millisecond {
		t.Errorf("pause %v, want that of the last ones", p)
	}
}
