package health

import (
	"testing"
	"time"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	type look struct {
		at    time.Duration
		depth uint32
		head  time.Duration // negative: not known
		since time.Duration // negative: does not stand
		long  time.Duration
	}
	for name, looks := range map[string][]look{
		"one late look is enough":          {{500 * ms, 9, 305 * ms, 200 * ms, 300 * ms}},
		"a head at the target":             {{500 * ms, 9, 5 * ms, 500 * ms, 0}},
		"a head below the target":          {{500 * ms, 9, 4 * ms, -1, 0}},
		"an empty queue ends it":           {{500 * ms, 9, 45 * ms, 460 * ms, 40 * ms}, {501 * ms, 0, -1, -1, 0}},
		"a young head ends it":             {{500 * ms, 9, 45 * ms, 460 * ms, 40 * ms}, {501 * ms, 9, 4 * ms, -1, 0}},
		"what is not seen changes nothing": {{500 * ms, 9, 45 * ms, 460 * ms, 40 * ms}, {510 * ms, 9, -1, 460 * ms, 50 * ms}},
		"nor proves it more than a gap":    {{500 * ms, 9, 45 * ms, 460 * ms, 40 * ms}, {900 * ms, 9, -1, 460 * ms, 65 * ms}},
		"nothing was seen":                 {{500 * ms, 9, -1, -1, 0}},
		"looks that overlap":               {{500 * ms, 9, 45 * ms, 460 * ms, 40 * ms}, {540 * ms, 9, 45 * ms, 460 * ms, 80 * ms}},
		"looks with a short gap":           {{500 * ms, 9, 8 * ms, 497 * ms, 3 * ms}, {505 * ms, 9, 8 * ms, 497 * ms, 8 * ms}, {510 * ms, 9, 6 * ms, 497 * ms, 13 * ms}},
		"looks too far apart":              {{500 * ms, 9, 8 * ms, 497 * ms, 3 * ms}, {600 * ms, 9, 8 * ms, 597 * ms, 3 * ms}},
		"a later look proves more":         {{500 * ms, 9, 8 * ms, 497 * ms, 3 * ms}, {505 * ms, 9, 45 * ms, 465 * ms, 40 * ms}},
	} {
		var s Standing
		for i, l := range looks {
			s.Observe(l.at, l.depth, max(l.head, 0), l.head >= 0)
			since, stands := s.Since()
			if stands != (l.since >= 0) || stands && since != l.since {
				t.Errorf("%s, look %d: since %v %v, want %v", name, i, since, stands, l.since)
			}
			if long := s.For(l.at); long != l.long {
				t.Errorf("%s, look %d: for %v, want %v", name, i, long, l.long)
			}
		}
	}
}

func TestPresenceEstimatesWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	def := Limits{}.WithDefaults()
	tests := []struct {
		name     string
		depth    uint32
		arrivals float64
		stands   bool
	}{
		{"5 ms of arrivals", 5, 1000, true},
		{"less than 5 ms of arrivals", 4, 1000, false},
		{"nobody comes, and one waits", 1, 0, true},
		{"nothing is known", 100, -1, false},
	}
	for _, test := range tests {
		p := newPresence(def.Target, def.Interval)
		for at := range 200 {
			p.observe(Observation{At: time.Duration(at) * ms, Sample: Sample{Depth: test.depth}, Arrivals: test.arrivals})
		}
		if got := p.For(199*ms) >= def.Interval; got != test.stands {
			t.Errorf("%s: stands for the interval: %v, want %v", test.name, got, test.stands)
		}
	}
}

func FuzzStanding(f *testing.F) {
	f.Add([]byte{1, 1, 9, 1, 5, 1, 30, 1, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Standing
		at := time.Duration(0)
		for ; len(data) >= 4; data = data[4:] {
			at += time.Duration(data[0]) * ms
			depth, head, known := uint32(data[1]), time.Duration(data[2])*ms, data[3]%2 == 1
			s.Observe(at, depth, head, known)
			since, stands := s.Since()
			switch {
			case stands && (since > at || s.For(at) > at-since):
				t.Fatalf("at %v: stands since %v, for %v", at, since, s.For(at))
			case !stands && s.For(at) != 0:
				t.Fatalf("does not stand, for %v", s.For(at))
			case (depth == 0 || known && head < 5*ms) && stands:
				t.Fatalf("stands with depth %d and head %v", depth, head)
			case depth > 0 && known && head >= 5*ms && (!stands || since > at-head+5*ms):
				t.Fatalf("at %v a head of %v proves more than since %v", at, head, since)
			}
		}
	})
}
