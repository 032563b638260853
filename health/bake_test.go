package health

import (
	"fmt"
	"testing"
	"time"
)

// trip runs the simulation against a Bake and returns when that tripped;
// negative if it did not.
func trip(s *simulation, watched []Watched, end time.Duration) (time.Duration, Finding) {
	bake, when, found := NewBake(watched), time.Duration(-1), Finding{}
	s.run(end, func(o Observation) bool {
		f, tripped := bake.Observe([]Observation{o})
		if tripped && when < 0 {
			when, found = o.At, f
		}
		return !tripped || s.dropped < 0 // to the first drop
	})
	return when, found
}

// TestBakeTripsOnAStall lets servers stop accepting for good, under all loads
// that leave the time to notice.
func TestBakeTripsOnAStall(t *testing.T) {
	t.Parallel()
	const stall = 200 * time.Millisecond
	ran := 0
	for _, rate := range []float64{10, 100, 200, 1000, 3000, 5000, 10000, 20000, 50000} {
		for _, limit := range []uint32{16, 128, 511, 1024, 4096} {
			for _, every := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
				for seed := range uint64(4) {
					for _, look := range []int{1, 3} {
						s := &simulation{limit: limit, arrivals: steady(rate), accepts: between(stall, never, 0, 1.5*rate+2000),
							seed: seed, phase: time.Duration(seed) * every / 4, every: every, look: look}
						name := fmt.Sprintf("%v/s, limit %d, every %v, seed %d, look %d", rate, limit, every, seed, look)
						ran += wantTrip(t, name, s, stall)
					}
				}
			}
		}
	}
	if ran < 500 {
		t.Errorf("%d of the cases leave time to notice, want most", ran)
	}
}

func wantTrip(t *testing.T, name string, s *simulation, stall time.Duration) (ran int) {
	t.Helper()
	var first time.Duration // when somebody waited whom nobody took
	arrivals := s.arrivals
	s.arrivals = func(at time.Duration) float64 {
		if at >= stall && first == 0 && len(s.queue) > 0 {
			first = at
		}
		return arrivals(at)
	}
	when, f := trip(s, watchedOne(), stall+500*time.Millisecond)
	if s.dropped >= 0 && s.dropped < stall+4*s.every+5*time.Millisecond {
		return 0 // too fast for anybody
	}
	bound := first + Limits{}.WithDefaults().Interval + s.every*time.Duration(s.look+1) + 5*time.Millisecond
	switch {
	case when < 0:
		t.Errorf("%s: did not trip", name)
	case when < stall:
		t.Errorf("%s: tripped at %v, %v before the stall: %v", name, when, stall-when, f)
	case s.dropped >= 0 && when >= s.dropped:
		t.Errorf("%s: tripped %v after the first drop (stalled for %v): %v", name, when-s.dropped, when-stall, f)
	case when > bound:
		t.Errorf("%s: tripped %v after the stall, %v too late: %v", name, when-stall, when-bound, f)
	}
	return 1
}

// TestBakeLetsServersPause lets healthy servers stand still once, for less than
// the interval, where the queue is long enough for it.
func TestBakeLetsServersPause(t *testing.T) {
	t.Parallel()
	def := Limits{}.WithDefaults()
	ran := 0
	for _, rate := range []float64{10, 100, 500, 1000, 5000, 20000, 50000} {
		for _, limit := range []uint32{16, 128, 1024, 4096} {
			for _, pause := range []time.Duration{0, 10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
				fullIn := time.Duration(float64(limit+1) / rate * float64(time.Second))
				if fullIn < pause*3/2+def.Reaction && fullIn < pause*5/2 || float64(limit)/rate < 0.005 {
					continue // no room to spare
				}
				for _, every := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
					for seed := range uint64(4) {
						s := &simulation{limit: limit, arrivals: steady(rate), seed: seed, every: every, look: 1 + int(seed)%2,
							accepts: between(200*time.Millisecond, 200*time.Millisecond+pause, 0, 5*rate+2000)}
						if when, f := trip(s, watchedOne(), 600*time.Millisecond); when >= 0 {
							t.Errorf("%v/s, limit %d, pause %v, every %v, seed %d: tripped at %v: %v", rate, limit, pause, every, seed, when, f)
						}
						ran++
					}
				}
			}
		}
	}
	if ran < 500 {
		t.Errorf("%d of the cases have room to spare, want most", ran)
	}
}
