package health

import (
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	t.Parallel()
	between := func(from, to time.Duration, change func(o *Observation)) func(o *Observation) {
		return func(o *Observation) {
			if o.At >= from && o.At < to {
				change(o)
			}
		}
	}
	waiting := func(head time.Duration) func(o *Observation) {
		return func(o *Observation) { o.Depth, o.Head = 2, head }
	}
	tests := []struct {
		name     string
		limits   Limits
		change   func(o *Observation)
		from, to time.Duration // it holds
	}{
		{"all is well", Limits{}, func(*Observation) {}, 0, 0},
		{"waits for half the target", Limits{}, between(100*ms, 200*ms, waiting(4*ms)), 124 * ms, 224 * ms},
		{"waits for a moment", Limits{}, between(100*ms, 120*ms, waiting(4*ms)), 0, 0},
		{"waits but for a moment", Limits{}, func(o *Observation) {
			if o.At >= 100*ms && o.At < 200*ms && o.At != 150*ms {
				waiting(4 * ms)(o)
			}
		}, 124 * ms, 224 * ms},
		{"waits for less", Limits{}, between(100*ms, 200*ms, waiting(2*ms)), 0, 0},
		{"a head that proves it at once", Limits{}, between(100*ms, 110*ms, waiting(28*ms)), 100 * ms, 134 * ms},
		{"more than half full", Limits{}, between(100*ms, 110*ms, func(o *Observation) { o.Depth = 65 }), 100 * ms, 134 * ms},
		{"half full", Limits{}, between(100*ms, 110*ms, func(o *Observation) { o.Depth = 64 }), 0, 0},
		{"drops", Limits{}, between(100*ms, never, func(o *Observation) { o.Drops++ }), 100 * ms, 126 * ms},
		{"for good", Limits{}, between(100*ms, never, waiting(4*ms)), 124 * ms, never},
		{"a longer interval", Limits{Interval: 400 * ms}, between(100*ms, 400*ms, waiting(4*ms)), 200 * ms, 498 * ms},
		{"off", Limits{Off: true}, func(o *Observation) { o.Depth = 129 }, 0, 0},
	}
	for _, test := range tests {
		p := NewPacer([]Watched{{Name: "a", Limits: Limits{Off: true}}, {Name: "http", Limits: test.limits}})
		for at := time.Duration(0); at < time.Second; at += 2 * ms {
			o := well(at)
			test.change(&o)
			hold, want := p.Observe([]Observation{{}, o}), at >= test.from && at < test.to
			if hold != want {
				t.Errorf("%s, at %v: hold %v, want %v", test.name, at, hold, want)
				break
			}
		}
	}
}
