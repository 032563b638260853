package health

import (
	"testing"
	"time"
)

// well is a queue that nothing is wrong with.
func well(at time.Duration) Observation {
	return Observation{At: at, Sample: Sample{Limit: 128, Drops: 7, Listening: true}, HeadKnown: true, Arrivals: 100}
}

// gateAt feeds what change makes of a healthy queue, each 10 ms from 0 to 1 s,
// and returns what the gate said at each.
func gateAt(w Watched, change func(o *Observation)) (found []Finding, open []bool) {
	g := NewGate([]Watched{w}, traceWindow)
	for at := time.Duration(0); at <= time.Second; at += 10 * ms {
		o := well(at)
		change(&o)
		f, ok := g.Observe([]Observation{o})
		found, open = append(found, f), append(open, ok)
	}
	return found, open
}

func TestGateOpens(t *testing.T) {
	t.Parallel()
	during := func(from, to time.Duration, change func(o *Observation)) func(o *Observation) {
		return func(o *Observation) {
			if o.At >= from && o.At < to {
				change(o)
			}
		}
	}
	known := Baseline{Known: true, Depth: 10}
	incident := Baseline{Known: true, Depth: 10, Head: 20 * ms, Dropping: true}
	tests := []struct {
		name    string
		watched Watched
		change  func(o *Observation)
		opens   time.Duration // for good; negative: never
		reason  Reason        // just before
	}{
		{"all is well", Watched{}, func(*Observation) {}, 100 * ms, ReasonUnseen},
		{"drops again and again", Watched{}, func(o *Observation) { o.Drops += uint32(o.At / (50 * ms)) }, -1, ReasonDrops},
		{"one drop", Watched{}, func(o *Observation) {
			if o.At >= 300*ms {
				o.Drops++
			}
		}, 400 * ms, ReasonDrops},
		{"a head that is too old", Watched{}, during(300*ms, 350*ms, func(o *Observation) { o.Depth, o.Head = 3, 8*ms }), 350 * ms, ReasonStanding},
		{"a queue that stood", Watched{}, during(300*ms, 500*ms, func(o *Observation) { o.Depth, o.Head = 3, 8*ms }), 590 * ms, ReasonStanding},
		{"a queue that stands", Watched{}, during(300*ms, never, func(o *Observation) { o.Depth, o.Head = 3, 8*ms }), -1, ReasonStanding},
		{"a queue that stands, and is not looked at again", Watched{}, during(300*ms, never, func(o *Observation) {
			o.Depth, o.Head, o.HeadKnown, o.Arrivals = 3, 8*ms, o.At == 300*ms, -1
		}), -1, ReasonStanding},
		{"a burst", Watched{}, during(300*ms, 310*ms, func(o *Observation) { o.Depth = 60 }), 100 * ms, ReasonUnseen},
		{"a burst above the baseline", Watched{Baseline: known}, during(300*ms, 310*ms, func(o *Observation) { o.Depth = 60 }), 310 * ms, ReasonDepth},
		{"the baseline and 8", Watched{Baseline: known}, during(0, never, func(o *Observation) { o.Depth = 18 }), 100 * ms, ReasonUnseen},
		{"the baseline and 9", Watched{Baseline: known}, during(0, never, func(o *Observation) { o.Depth = 19 }), -1, ReasonDepth},
		{"the baseline and what arrives in 5 ms", Watched{Baseline: known}, during(0, never, func(o *Observation) { o.Depth, o.Arrivals = 19, 2000 }), 100 * ms, ReasonUnseen},
		{"too little room", Watched{}, during(300*ms, 500*ms, func(o *Observation) { o.Arrivals = 10000 }), 590 * ms, ReasonHeadroom},
		{"just enough room", Watched{}, during(0, never, func(o *Observation) { o.Arrivals = 6400 }), 100 * ms, ReasonUnseen},
		{"shut down for a moment", Watched{}, during(300*ms, 310*ms, func(o *Observation) { o.Sample = Sample{} }), 400 * ms, ReasonNotListening},
		{"off", Watched{Limits: Limits{Off: true}}, during(0, never, func(o *Observation) { o.Sample = Sample{Drops: uint32(o.At)} }), 100 * ms, ReasonUnseen},
		{"nothing is known but the depth", Watched{}, during(0, never, func(o *Observation) { o.Depth, o.HeadKnown, o.Arrivals = 60, false, -1 }), 100 * ms, ReasonUnseen},
		{"tolerant: drops as before", Watched{Tolerant: true, Baseline: incident}, during(0, never, func(o *Observation) { o.Drops = uint32(o.At / ms) }), 100 * ms, ReasonUnseen},
		{"tolerant: new drops", Watched{Tolerant: true, Baseline: known}, during(0, never, func(o *Observation) { o.Drops = uint32(o.At / ms) }), -1, ReasonDrops},
		{"tolerant: without a baseline", Watched{Tolerant: true}, during(0, never, func(o *Observation) { o.Drops = uint32(o.At / ms) }), -1, ReasonDrops},
		{"tolerant: no room, without a baseline", Watched{Tolerant: true}, during(0, never, func(o *Observation) { o.Arrivals = 100000 }), -1, ReasonHeadroom},
		{"tolerant: waits less than twice as long", Watched{Tolerant: true, Baseline: incident}, during(0, never, func(o *Observation) { o.Depth, o.Head = 9, 39*ms }), 100 * ms, ReasonUnseen},
		{"tolerant: waits twice as long", Watched{Tolerant: true, Baseline: incident}, during(0, never, func(o *Observation) { o.Depth, o.Head = 9, 40*ms }), -1, ReasonStanding},
		{"tolerant: no room", Watched{Tolerant: true, Baseline: incident}, during(0, never, func(o *Observation) { o.Arrivals = 100000 }), 100 * ms, ReasonUnseen},
		{"tolerant: deeper", Watched{Tolerant: true, Baseline: incident}, during(0, never, func(o *Observation) { o.Depth = 60 }), -1, ReasonDepth},
	}
	for _, test := range tests {
		found, open := gateAt(test.watched, test.change)
		opens, before := time.Duration(-1), found[len(found)-1].Reason
		for i := len(open) - 1; i >= 0 && open[i]; i-- {
			opens = time.Duration(i) * 10 * ms
			before = found[max(i-1, 0)].Reason
		}
		if opens != test.opens || before != test.reason {
			t.Errorf("%s: open from %v on, before that %q (%v), want %v and %q", test.name, opens, before, found[len(found)-1], test.opens, test.reason)
		}
	}
}

func TestGateTellsTheMostSeriousOfSeveral(t *testing.T) {
	t.Parallel()
	g := NewGate([]Watched{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}, traceWindow)
	obs := make([]Observation, 4)
	look := func(at time.Duration) (Finding, bool) {
		for i := range obs {
			obs[i] = well(at)
		}
		obs[1].Depth, obs[1].Head = 5, 300*ms
		obs[2].Drops = uint32(at / ms)
		obs[3].Arrivals = 1e6
		return g.Observe(obs)
	}
	look(0)
	if f, open := look(100 * ms); open || f.Listener != "c" || f.Reason != ReasonDrops || f.Dropped != 100 {
		t.Errorf("open %v: %v, want the drops of c", open, f)
	}
}

func TestGateNeedsAnObservationOfEach(t *testing.T) {
	t.Parallel()
	for n, obs := range [][]Observation{{}, nil, {well(time.Hour), well(time.Hour)}} {
		g := NewGate([]Watched{{Name: "a"}}, 0)
		if f, open := g.Observe(obs); open || f.Reason != ReasonUnseen {
			t.Errorf("case %d: open %v, %v", n, open, f)
		}
	}
	g := NewGate(nil, 0)
	if f, open := g.Observe(nil); open || f.Reason != ReasonUnseen {
		t.Errorf("nothing to watch: open %v, %v", open, f)
	}
}

func TestGateStaysShutWhileAListenerCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	g := NewGate([]Watched{{Name: "a"}, {Name: "b"}}, 100*ms)
	for at := time.Duration(0); at <= 300*ms; at += 5 * ms {
		f, open := g.Observe([]Observation{well(at), well(min(at, 50*ms))})
		if open || at > 200*ms && (f.Reason != ReasonUnseen || f.Listener != "b" || f.Ago != at-50*ms) {
			t.Fatalf("at %v: open %v, %v", at, open, f)
		}
	}
	if f, open := g.Observe([]Observation{well(305 * ms), well(305 * ms)}); !open {
		t.Errorf("shut although all can be looked at again: %v", f)
	}
}

// A stream is what a fuzzer makes of bytes: two listeners, looked at again and
// again.
type stream struct {
	data    []byte
	watched []Watched
	obs     []Observation
	drops   [2]uint32
	at      time.Duration
}

func newStream(data []byte) *stream {
	s := &stream{data: data, watched: make([]Watched, 2), obs: make([]Observation, 2)}
	for i := range s.watched {
		b := s.byte()
		s.drops[i] = uint32(int32(s.byte()) - 128) // near where it wraps
		s.watched[i] = Watched{
			Name:     string(rune('a' + i)),
			Tolerant: b&1 != 0,
			Limits:   Limits{Off: b&0xf0 == 0xf0},
			Baseline: Baseline{Known: b&2 != 0, Dropping: b&4 != 0, Depth: uint32(s.byte()), Head: time.Duration(s.byte()) * ms},
		}
	}
	return s
}

func (s *stream) byte() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

// next makes the next look; false at the end of the bytes.
func (s *stream) next() bool {
	if len(s.data) == 0 {
		return false
	}
	s.at += time.Duration(s.byte()) * ms
	for i := range s.obs {
		b := s.byte()
		if b&8 != 0 {
			s.drops[i] += uint32(s.byte())
		}
		o := Observation{
			At:        s.at,
			Sample:    Sample{Depth: uint32(s.byte()), Limit: 128, Drops: s.drops[i], Listening: b&0x70 != 0x70},
			HeadKnown: b&1 != 0,
			Arrivals:  float64(s.byte())*100 - 100,
		}
		if o.HeadKnown && o.Depth > 0 {
			o.Head = time.Duration(s.byte()) * ms
		}
		s.obs[i] = o
	}
	return true
}

// quiet makes a look at queues that are well, wait later.
func (s *stream) quiet(wait time.Duration) {
	s.at += wait
	for i := range s.obs {
		s.obs[i] = well(s.at)
		s.obs[i].Drops = s.drops[i]
	}
}

// A witness remembers when a listener last did what keeps a gate closed.
type witness struct {
	begun       bool
	drops       uint32
	moved, deaf time.Duration // negative: never
}

func (w *witness) see(o Observation) {
	if !o.Listening {
		w.deaf = o.At
		return
	}
	if w.begun && o.Drops != w.drops {
		w.moved = o.At
	}
	w.begun, w.drops = true, o.Drops
}

func FuzzGate(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 50, 1, 0, 2, 1, 0, 2, 50, 1, 0, 2, 1, 0, 2, 60, 9, 1, 0, 2, 1, 0, 2}, byte(10))
	f.Add([]byte{7, 0, 40, 9, 0xff, 9, 9, 9, 60, 9, 1, 0, 2, 1, 0, 2, 60, 0x70, 1, 0, 2, 1, 0, 2}, byte(200))
	f.Fuzz(func(t *testing.T, data []byte, pause byte) {
		s := newStream(data)
		g := NewGate(s.watched, traceWindow)
		seen := [2]witness{{moved: -never, deaf: -never}, {moved: -never, deaf: -never}}
		for s.next() {
			found, open := g.Observe(s.obs)
			if open != (found.Reason == ReasonSettled) || found.String() == "" {
				t.Fatalf("open %v with %v", open, found)
			}
			for i, o := range s.obs {
				seen[i].see(o)
				if open && !s.watched[i].Limits.Off {
					wantJustified(t, s.watched[i], o, seen[i])
				}
			}
		}
		wait := time.Duration(pause)*ms + ms
		began, found, open := s.at+wait, Finding{}, false
		for s.at <= began+2*traceWindow || s.at == began {
			s.quiet(wait)
			found, open = g.Observe(s.obs)
		}
		if !open {
			t.Fatalf("quiet for two windows, and closed: %v", found)
		}
	})
}

// wantJustified fails if a gate opened that must not have.
func wantJustified(t *testing.T, w Watched, o Observation, seen witness) {
	t.Helper()
	tolerant := w.Tolerant && w.Baseline.Known
	switch {
	case o.At-seen.deaf < traceWindow:
		t.Fatalf("open at %v; %s did not listen at %v", o.At, w.Name, seen.deaf)
	case o.At-seen.moved < traceWindow && !(tolerant && w.Baseline.Dropping):
		t.Fatalf("open at %v; %s dropped at %v", o.At, w.Name, seen.moved)
	case o.HeadKnown && o.Head >= 5*ms && !tolerant:
		t.Fatalf("open at %v; the head of %s is %v old", o.At, w.Name, o.Head)
	}
}
