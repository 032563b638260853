package health

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

// TestMonitorChangesItsListeners: what is known of those that stay is kept, whatever
// their places are; who follows some by name goes on to see these.
func TestMonitorChangesItsListeners(t *testing.T) {
	t.Parallel()
	a, atA := listenRaw(t, 8)
	b, atB := listenRaw(t, 1)
	c, atC := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: a}, {Name: "b", FD: b}}, Idle: time.Hour})
	tally := m.Tally()
	defer tally.End()
	connectTo(t, atA, 3)
	connectTo(t, atB, 2) // all that it takes
	overflow(t, atB)
	waitFor(t, m, func(v View) bool { return v.Observations[0].Depth == 3 && v.Observations[1].Drops > 0 })
	m.Count(1, []Count{{Listener: "a", Accepted: 7}, {Listener: "b", Accepted: 5}})

	changed, seen := make(chan struct{}), make(chan error, 1)
	go func() { // joined by seen
		first := true
		seen <- m.FollowOnly(t.Context(), []string{"b", "a"}, time.Millisecond, func(v View) bool {
			if first {
				close(changed)
				first = false
			}
			return len(v.Observations) == 2 && v.Observations[0].Depth == 2 && v.Observations[1].Depth == 0 && v.Observations[1].Listening && v.Observations[1].At == v.At
		})
	}()
	<-changed
	if err := m.Change([]Listener{{Name: "c", FD: c}, {Name: "b", FD: b, Limits: Limits{Target: time.Second, Interval: time.Minute}}}); err != nil {
		t.Fatal(err)
	}
	if err := <-seen; err != nil {
		t.Errorf("who followed b and a was told %v", err)
	}
	connectTo(t, atC, 4)
	waitFor(t, m, func(v View) bool { return v.Observations[0].Depth == 4 })
	f := m.Figures()
	if len(f) != 2 || f[0].Name != "c" || f[1].Name != "b" || f[1].Drops == 0 || f[1].Limits.Target != time.Second || f[0].Drops != 0 {
		t.Fatalf("figures %+v", f)
	}
	if g := f[1].Generations; len(g) != 1 || g[0].Accepted != 5 {
		t.Errorf("of b it is said %+v", g)
	}
	if g := f[0].Generations; len(g) != 1 || g[0].Accepted != 0 {
		t.Errorf("of c it is said %+v", g)
	}
	taken := tally.Take()
	if len(taken) != 2 || taken[0].Name != "c" || taken[0].MaxDepth != 4 || taken[1].Name != "b" || taken[1].MaxDepth != 2 || taken[1].Drops == 0 {
		t.Errorf("tally %+v", taken)
	}
	if tally.Samples("a", time.Minute) != nil || len(tally.Samples("b", time.Minute)) == 0 {
		t.Error("samples are those of other listeners")
	}
	if objection, objects := m.Objection(t.Context()); !objects || objection.Listener != "b" || objection.Reason != ReasonDrops {
		t.Errorf("what was dropped before is forgotten: %v", objection)
	}
}

// TestMonitorWithANewSocketOfAName: another socket by the same name is another
// listener.
func TestMonitorWithANewSocketOfAName(t *testing.T) {
	t.Parallel()
	a, atA := listenRaw(t, 8)
	again, _ := listenRaw(t, 16)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: a}}, Idle: time.Hour})
	connectTo(t, atA, 3)
	waitFor(t, m, func(v View) bool { return v.Observations[0].Depth == 3 })
	if err := m.Change([]Listener{{Name: "a", FD: again}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, m, func(v View) bool { return v.Observations[0].Depth == 0 && v.Observations[0].Limit == 16 })
	if err := m.Change([]Listener{{Name: "a", FD: -1}}); err == nil {
		t.Error("a descriptor that is none is taken")
	}
	waitFor(t, m, func(v View) bool { return v.Observations[0].Limit == 16 })
	if err := m.Change(nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, m, func(v View) bool { return len(v.Observations) == 0 })
	m.Close()
	if err := m.Change(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestMonitorChangesWhileItIsUsed is for the race detector.
func TestMonitorChangesWhileItIsUsed(t *testing.T) {
	t.Parallel()
	a, atA := listenRaw(t, 64)
	b, _ := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: a}}})
	connectTo(t, atA, 20)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // joined by done
		defer close(done)
		for ctx.Err() == nil {
			m.Figures()
			m.Count(1, []Count{{Listener: "b", Accepted: 1}})
			m.Totals()
			m.Watched(false)
			tally := m.Tally()
			tally.Take()
			tally.End()
		}
	}()
	for i := range 50 {
		listeners := []Listener{{Name: "b", FD: b}, {Name: "a", FD: a}}
		if err := m.Change(slices.Delete(listeners, i%2, i%2+1)); err != nil {
			t.Error(err)
		}
		waitFor(t, m, func(v View) bool { return len(v.Observations) == 1 })
	}
	cancel()
	<-done
}

// waitFor follows until ok.
func waitFor(t *testing.T, m *Monitor, ok func(View) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Follow(ctx, time.Millisecond, ok); err != nil {
		t.Fatalf("waited in vain: %v; figures %+v", err, m.Figures())
	}
}

// overflow tries to connect where there is no room.
func overflow(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // joined by the end of the test
		defer close(done)
		if c, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			c.Close()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
