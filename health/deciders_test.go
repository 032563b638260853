package health

import (
	"testing"
	"time"
)

// TestDecidersAllocateNothing lets each of them see healthy and sick queues of a
// hundred listeners.
func TestDecidersAllocateNothing(t *testing.T) {
	const n = 100
	watched, names, limits := make([]Watched, n), make([]string, n), make([]Limits, n)
	obs := make([]Observation, n)
	var at time.Duration
	look := func() {
		at += 3 * ms
		for i := range obs {
			obs[i] = well(at)
			obs[i].Depth = uint32(i)
			obs[i].Head = time.Duration(at/ms%30) * ms
			obs[i].Drops = uint32(at / ms)
		}
	}
	gate, bake, pacer := NewGate(watched, traceWindow), NewBake(watched), NewPacer(watched)
	recent, progress := NewRecent(names, limits, 5*time.Second), NewProgress(100*ms)
	var rate Rate
	durations := make([]uint64, SojournBuckets)
	durations[3] = 100
	for name, observe := range map[string]func(){
		"gate":      func() { gate.Observe(obs) },
		"bake":      func() { bake.Observe(obs) },
		"pacer":     func() { pacer.Observe(obs) },
		"recent":    func() { recent.Observe(obs) },
		"objection": func() { recent.Objection() },
		"typical":   func() { progress.Typical(Count{Accepted: 100, Durations: durations}) },
		"progress":  func() { progress.Observe(at, Count{Accepted: uint64(at / ms)}) },
		"rate":      func() { rate.Observe(at, uint64(at)) },
	} {
		if allocs := testing.AllocsPerRun(200, func() { look(); observe() }); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// BenchmarkDeciders is what deciding about one listener costs.
func BenchmarkDeciders(b *testing.B) {
	watched := watchedOne()
	gate, bake := NewGate(watched, traceWindow), NewBake(watched)
	recent := NewRecent([]string{"http"}, []Limits{{}}, 5*time.Second)
	obs := []Observation{{}}
	for name, observe := range map[string]func(){
		"gate":   func() { gate.Observe(obs) },
		"bake":   func() { bake.Observe(obs) },
		"recent": func() { recent.Observe(obs) },
	} {
		b.Run(name, func(b *testing.B) {
			at := time.Duration(0)
			for b.Loop() {
				at += ms
				obs[0] = well(at)
				obs[0].Depth = uint32(at / ms % 60)
				observe()
			}
		})
	}
}
