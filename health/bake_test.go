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

func TestBake(t *testing.T) {
	t.Parallel()
	full := func(o *Observation) { o.Depth = 129 }
	tests := []struct {
		name    string
		watched Watched
		change  func(o *Observation)
		trips   time.Duration // negative: never
		reason  Reason
	}{
		{"all is well", Watched{}, func(*Observation) {}, -1, ""},
		{"full", Watched{}, full, 0, ReasonFilling},
		{"not listening", Watched{}, func(o *Observation) { o.Listening = o.At < 300*ms }, 300 * ms, ReasonNotListening},
		{"off", Watched{Limits: Limits{Off: true}}, full, -1, ""},
		{"a drop", Watched{}, func(o *Observation) { o.Drops += uint32(o.At / (300 * ms)) }, 300 * ms, ReasonDrops},
		{"a counter that wraps", Watched{}, func(o *Observation) { o.Drops = uint32(o.At/(300*ms)) - 1 }, 300 * ms, ReasonDrops},
		{"deep and even", Watched{}, func(o *Observation) { o.Depth = 120 }, -1, ""},
		{"other limits", Watched{Limits: Limits{Target: 20 * ms, Interval: 50 * ms}}, func(o *Observation) {
			o.Depth, o.Head = 1, o.At
		}, 70 * ms, ReasonStanding},
		{"a short reaction", Watched{Limits: Limits{Reaction: 20 * ms}}, func(o *Observation) { o.Depth = uint32(o.At / ms) }, 110 * ms, ReasonFilling},
		{"tolerant: full before", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 129}}, full, -1, ""},
		{"tolerant: not full before", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 128}}, full, 0, ReasonFilling},
		{"tolerant: dropped before", Watched{Tolerant: true, Baseline: Baseline{Known: true, Dropping: true}}, func(o *Observation) {
			o.Depth, o.Drops = 129, uint32(o.At/ms)
		}, -1, ""},
		{"tolerant: did not drop before", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 129}}, func(o *Observation) { o.Drops += uint32(o.At / (300 * ms)) }, 300 * ms, ReasonDrops},
		{"tolerant: not looked at before", Watched{Tolerant: true}, full, 0, ReasonFilling},
		{"tolerant: grows from where it was", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 100}}, func(o *Observation) {
			o.Depth = 20 + uint32(min(o.At/ms, 100)) // 108 are normal
		}, 90 * ms, ReasonFilling},
		{"tolerant: stands as before", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 20, Head: 80 * ms}}, func(o *Observation) {
			o.Depth, o.Head = 30, 150*ms
		}, -1, ""},
		{"tolerant: stands for longer", Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 20, Head: 80 * ms}}, func(o *Observation) {
			o.Depth, o.Head = 30, 160*ms
		}, 100 * ms, ReasonStanding},
	}
	for _, test := range tests {
		trips, found := time.Duration(-1), Finding{}
		b := NewBake([]Watched{test.watched})
		for at := time.Duration(0); at <= time.Second && trips < 0; at += 10 * ms {
			o := well(at)
			test.change(&o)
			if f, tripped := b.Observe([]Observation{o}); tripped {
				trips, found = at, f
			}
		}
		if trips != test.trips || found.Reason != test.reason {
			t.Errorf("%s: tripped at %v: %v, want %v and %q", test.name, trips, found, test.trips, test.reason)
		}
	}
}

func TestBakeStaysTripped(t *testing.T) {
	t.Parallel()
	b := NewBake(watchedOne())
	if f, tripped := b.Observe(nil); tripped || f.Reason != ReasonUnseen {
		t.Errorf("no observation: tripped %v, %v", tripped, f)
	}
	full := well(0)
	full.Depth = 129
	first, _ := b.Observe([]Observation{full})
	dropping := well(time.Second)
	dropping.Drops++
	if f, tripped := b.Observe([]Observation{dropping}); !tripped || f != first {
		t.Errorf("afterwards: tripped %v, %v, want %v", tripped, f, first)
	}
}

func FuzzBake(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 2, 1, 0, 2, 5, 1, 60, 2, 9, 1, 70, 2, 60, 9, 1, 80, 2, 1, 90, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStream(data)
		b := NewBake(s.watched)
		var last []Observation
		for s.next() {
			found, tripped := b.Observe(s.obs)
			if tripped && (found.Listener == "" || found.String() == "") {
				t.Fatalf("tripped without a reason: %v", found)
			}
			for i, o := range s.obs {
				w := s.watched[i]
				dropped := last != nil && last[i].Listening && o.Listening && last[i].Drops != o.Drops
				if !tripped && !w.Limits.Off && !w.Tolerant && (dropped || o.Full() || !o.Listening) {
					t.Fatalf("not tripped by %+v after %+v", o, last)
				}
			}
			last = append(last[:0], s.obs...)
		}
		healthy := NewBake(s.watched)
		for range 100 {
			s.quiet(3 * ms)
			if found, tripped := healthy.Observe(s.obs); tripped {
				t.Fatalf("tripped while all was well: %v", found)
			}
		}
	})
}
