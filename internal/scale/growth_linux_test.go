package scale

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// A span is how long something took, several times.
type span []time.Duration

func (s span) median() time.Duration { return s.at(50) }
func (s span) most() time.Duration   { return s.at(100) }

// at is the least value that so many per cent are not above.
func (s span) at(percent float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(int(percent/100*float64(len(sorted))+0.999999), 1)-1]
}

// Took are the times of several upgrades.
type took struct{ ready, pause, gate, commit span }

func (t *took) add(a attempt) {
	t.ready, t.commit = append(t.ready, a.ready), append(t.commit, a.commit)
	if a.pause > 0 { // or it cannot pause
		t.pause = append(t.pause, a.pause)
	}
	for _, p := range a.Phases {
		if p.Phase == upgrade.PhaseGate {
			t.gate = append(t.gate, seconds(p.Seconds))
		}
	}
}

// A pace is how long the parts of a growth are looked at.
type pace struct {
	upgrades int           // at each size
	window   time.Duration // of CPU time at rest
	bake     time.Duration
}

func paceOf() pace {
	if isLong() {
		return pace{upgrades: 10, window: 10 * time.Second, bake: 2 * time.Second}
	}
	return pace{upgrades: 1, window: 200 * time.Millisecond, bake: 200 * time.Millisecond}
}

func (p pace) flags() []string {
	return []string{"--bake", p.bake.String(), "--drain-timeout", "1h", "--max-draining", "64", "--gate-timeout", "30s",
		// On a busy machine a queue stands for longer than the default allows.
		"--queue-target", "500ms", "--queue-interval", "1s"}
}

// bakes upgrades and tells which part of a core the overseers took in the bake.
func (s *supervised) bakes() (a attempt, part float64) {
	s.Helper()
	var before time.Duration
	var begun time.Time
	var watched []int
	a = s.commits(func(step upgrade.Step) {
		if step.Phase == upgrade.PhaseBake {
			watched = s.overseers(s.status())
			begun, before = time.Now(), onCPU(s.TB, watched...)
		}
	})
	return a, (onCPU(s.TB, watched...) - before).Seconds() / time.Since(begun).Seconds()
}

// A listenerRow is what so many listeners cost.
type listenerRow struct {
	listeners              int
	took                   took
	idle, bake             float64 // of a core
	supervisor, generation int     // bytes resident
	requests               load.Report
}

// TestGrowthWithListeners upgrades a service of ever more listeners, all of which
// are served, and by all of which a request is answered after each upgrade.
func TestGrowthWithListeners(t *testing.T) {
	counts := []int{1, 40}
	if isLong() {
		counts = []int{1, 10, 100, 253, 1000}
	}
	p, pace := build(t), paceOf()
	var rows []listenerRow
	for _, n := range counts {
		rows = append(rows, p.listeners(t, n, pace))
	}
	t.Logf("\n%s", listenerTable(rows))
	publish(t, "listeners", "make scale", listenerTable(rows))
	drawTo(t, "scale-listeners.svg", listenerPlot(rows))
}

func (p programs) listeners(t *testing.T, n int, pace pace) listenerRow {
	var listen []string
	for i := range n {
		listen = append(listen, fmt.Sprintf("l%d=tcp://127.0.0.1:0", i))
	}
	s := p.start(t, listen, pace.flags()...)
	defer s.Stop()
	st := s.alone()
	row := listenerRow{listeners: n, idle: busy(t, pace.window, s.PID())}
	var bakes float64
	for range pace.upgrades {
		run := s.light(address(st, "l0"))
		a, part := s.bakes()
		row.took.add(a)
		bakes += part
		s.alone()
		count(t, &row.requests, run.Stop())
		s.everyListener(st)
	}
	row.bake = bakes / float64(pace.upgrades)
	st = s.alone()
	row.supervisor, row.generation = resident(t, s.PID()), resident(t, server(st.Generations[0]))
	return row
}

// light is some traffic at one listener.
func (s *supervised) light(address string) *load.Run {
	return s.load(load.Config{Target: "http://" + address, Duration: time.Hour, Traffic: []load.Traffic{
		{Name: "new", Pattern: load.NewConnection, Rate: 50, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "kept", Pattern: load.KeepAlive, Rate: 10, Clients: 5, Path: "/echo", PayloadBytes: 64, Echo: true},
	}})
}

// load begins traffic that ends with the test at the latest.
func (s *supervised) load(c load.Config) *load.Run {
	s.Helper()
	run, err := load.Start(s.Context(), c)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { run.Stop() })
	return run
}

// count adds up requests. One that failed fails the test.
func count(tb testing.TB, sum *load.Report, r load.Report) {
	tb.Helper()
	sum.Requests += r.Requests
	sum.Failed += r.Failed
	for _, t := range r.Traffic {
		for _, f := range t.Failures {
			tb.Errorf("%s: %d failed: %s, as %+v", t.Name, f.Count, f.Kind, f.First)
		}
	}
}

// everyListener has each listener answer.
func (s *supervised) everyListener(st upgrade.Status) {
	s.Helper()
	if e := each(len(st.Listeners), func(i int) error { return greet(st.Listeners[i].Address) }); e.Lost > 0 {
		s.Errorf("%d of %d listeners do not answer: %s", e.Lost, len(st.Listeners), e.First)
	}
}
