package health

import (
	"testing"
	"time"
)

// remember feeds what change makes of a healthy queue, each 10 ms until the end.
func remember(limits Limits, end time.Duration, change func(o *Observation)) *Recent {
	r := NewRecent([]string{"http"}, []Limits{limits}, 5*time.Second)
	for at := time.Duration(0); at <= end; at += 10 * ms {
		o := well(at)
		change(&o)
		r.Observe([]Observation{o})
	}
	return r
}

func TestRecentObjects(t *testing.T) {
	t.Parallel()
	dropsAt := func(when time.Duration) func(o *Observation) {
		return func(o *Observation) {
			if o.At >= when {
				o.Drops += 12
			}
		}
	}
	tests := []struct {
		name   string
		limits Limits
		change func(o *Observation)
		want   string
	}{
		{"all is well", Limits{}, func(*Observation) {}, ""},
		{"drops", Limits{}, dropsAt(8700 * ms), "listener http: the kernel dropped 12 packets of connecting clients 1.3s ago (0 of 128 waiting)"},
		{"drops again and again", Limits{}, func(o *Observation) { o.Drops = uint32(o.At / (4 * time.Second)) }, "listener http: the kernel dropped 2 packets of connecting clients 2s ago (0 of 128 waiting)"},
		{"drops after others of long ago", Limits{}, func(o *Observation) {
			dropsAt(time.Second)(o)
			dropsAt(8700 * ms)(o)
		}, "listener http: the kernel dropped 12 packets of connecting clients 1.3s ago (0 of 128 waiting)"},
		{"drops of long ago", Limits{}, dropsAt(5 * time.Second), ""},
		{"drops, and it is off", Limits{Off: true}, dropsAt(8700 * ms), ""},
		{"stands", Limits{}, func(o *Observation) {
			if o.At >= 9900*ms {
				o.Depth, o.Head = 3, 8*ms
			}
		}, "listener http: its queue stands: connections have waited more than 5ms for 103ms on end (oldest 8ms, 3 of 128 waiting)"},
		{"begins to stand", Limits{}, func(o *Observation) {
			if o.At >= 9950*ms {
				o.Depth, o.Head = 3, 8*ms
			}
		}, ""},
		{"stood", Limits{}, func(o *Observation) {
			if o.At >= 9000*ms && o.At < 9990*ms {
				o.Depth, o.Head = 3, 8*ms
			}
		}, ""},
		{"does not listen", Limits{}, func(o *Observation) { o.Listening = false }, "listener http: it does not listen any more: a process that holds it called shutdown(2)"},
	}
	for _, test := range tests {
		f, ok := remember(test.limits, 10*time.Second, test.change).Objection()
		if ok != (test.want != "") || ok && f.Error() != test.want {
			t.Errorf("%s: %v %q, want %q", test.name, ok, f, test.want)
		}
	}
}

func TestRecentBaselines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		end    time.Duration
		change func(o *Observation)
		want   Baseline
	}{
		{"all is well", time.Second, func(*Observation) {}, Baseline{Known: true}},
		{"the median", 10 * time.Second, func(o *Observation) { o.Depth = uint32(o.At / (50 * ms) % 5 * 10) }, Baseline{Known: true, Depth: 20}},
		{"the last second", 10 * time.Second, func(o *Observation) {
			o.Depth, o.Head = 40, 30*ms
			if o.At < 8900*ms {
				o.Depth = 3
			}
		}, Baseline{Known: true, Depth: 40, Head: 30 * ms}},
		{"the least head", time.Second, func(o *Observation) { o.Depth, o.Head = 5, 20*ms-o.At/(10*ms)%2*8*ms }, Baseline{Known: true, Depth: 5, Head: 12 * ms}},
		{"a head that is not known", time.Second, func(o *Observation) { o.Depth, o.Head, o.HeadKnown = 5, 8*ms, o.At == 500*ms }, Baseline{Known: true, Depth: 5, Head: 8 * ms}},
		{"drops seconds ago", 4 * time.Second, func(o *Observation) { o.Drops += uint32(min(o.At, 100*ms) / ms) }, Baseline{Known: true, Dropping: true}},
		{"drops of long ago", 6 * time.Second, func(o *Observation) { o.Drops += uint32(min(o.At, 100*ms) / ms) }, Baseline{Known: true}},
		{"does not listen", time.Second, func(o *Observation) { o.Listening = false }, Baseline{}},
	}
	for _, test := range tests {
		if got := remember(Limits{}, test.end, test.change).Baselines(); len(got) != 1 || got[0] != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestRecentBaselinesOfRareLooks(t *testing.T) {
	t.Parallel()
	r := NewRecent([]string{"http"}, []Limits{{}}, 5*time.Second)
	for at := time.Duration(0); at <= 5*time.Second; at += 100 * ms {
		o := well(at)
		if at > 3900*ms {
			o.Depth, o.Head = 9, 4*ms
		}
		r.Observe([]Observation{o})
	}
	if got := r.Baselines()[0]; got != (Baseline{Known: true, Depth: 9, Head: 4 * ms}) {
		t.Errorf("%+v, want that of the last second", got)
	}
}

func TestRecentWithoutObservations(t *testing.T) {
	t.Parallel()
	r := NewRecent([]string{"http"}, []Limits{{}}, time.Second)
	r.Observe(nil)
	if f, ok := r.Objection(); ok {
		t.Errorf("objects: %v", f)
	}
	if got := r.Baselines(); len(got) != 1 || got[0] != (Baseline{}) {
		t.Errorf("baselines %+v, want one that is not known", got)
	}
}
