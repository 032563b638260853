package health

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMeasuresAreEquallySure wants each of them to be wrong by chance once in
// 10^8 times, with the fewest connections that are enough.
func TestMeasuresAreEquallySure(t *testing.T) {
	t.Parallel()
	const sure = 1e-8 * (1 + 1e-9) // but for the rounding
	for _, m := range measures() {
		wrong := func(accepted uint64) float64 { return math.Pow(1-m.part, float64(accepted)) }
		if wrong(m.accepted) > sure || wrong(m.accepted-1) <= sure {
			t.Errorf("%+v: %v, and %v with one less", m, wrong(m.accepted), wrong(m.accepted-1))
		}
	}
}

func TestTypicalChoosesAMeasure(t *testing.T) {
	t.Parallel()
	of := func(accepted uint64, buckets map[int]uint64) Count {
		c := Count{Accepted: accepted, Durations: make([]uint64, SojournBuckets)}
		for i, n := range buckets {
			c.Durations[i] = n
		}
		return c
	}
	tests := []struct {
		name   string
		active Count
		want   measure
	}{
		{"all are short", of(1000, map[int]uint64{4: 1000}), measure{0.9, 8, 16 * ms}},
		{"a tenth is open", of(1000, map[int]uint64{4: 900}), measure{0.9, 8, 16 * ms}},
		{"a little more", of(1000, map[int]uint64{4: 899}), measure{0.8, 12, 16 * ms}},
		{"two fifths are open", of(1000, map[int]uint64{4: 600}), measure{0.6, 21, 16 * ms}},
		{"two fifths were open for a minute", of(1000, map[int]uint64{4: 600, 16: 400}), measure{0.6, 21, 16 * ms}},
		{"half are open", of(1000, map[int]uint64{4: 500}), measure{0.5, 27, 16 * ms}},
		{"more than half", of(1000, map[int]uint64{4: 499}), unknown()},
		{"longer ones are not waited for", of(1000, map[int]uint64{4: 750, 9: 100, 12: 100}), measure{0.7, 16, 16 * ms}},
		{"but those that are not so long", of(1000, map[int]uint64{4: 750, 8: 200}), measure{0.9, 8, 256 * ms}},
		{"all are long: the time is least, not the part", of(1000, map[int]uint64{10: 550, 12: 400}), measure{0.5, 27, 1024 * ms}},
		{"all are as long", of(1000, map[int]uint64{12: 950}), measure{0.9, 8, 4096 * ms}},
		{"few, and all are short", of(20, map[int]uint64{4: 20}), measure{0.9, 8, 16 * ms}},
		{"few, and one in four is open", of(39, map[int]uint64{4: 29}), unknown()},
		{"not so few", of(40, map[int]uint64{4: 30}), measure{0.7, 16, 16 * ms}},
		{"none", Count{}, unknown()},
	}
	for _, test := range tests {
		var typ typical
		typ.begin(test.active)
		if got := typ.choose(test.active, 100*ms); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestTypicalFollowsTheActiveOne has it become slower, and more of its
// connections long, after the first report.
func TestTypicalFollowsTheActiveOne(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                    string
		accepted, short, slower uint64 // since the first report
		want                    measure
	}{
		{"as before", 100, 100, 0, measure{0.9, 8, 16 * ms}},
		{"slower", 100, 0, 100, measure{0.9, 8, 256 * ms}},
		{"half of a short time's will do", 100, 45, 0, measure{0.9, 8, 16 * ms}},
		{"many are open", 100, 44, 0, measure{0.8, 12, 16 * ms}},
		{"most are open", 100, 25, 0, measure{0.5, 27, 16 * ms}},
		{"it is stuck itself", 100, 24, 0, unknown()},
		{"hardly any came", 19, 0, 0, measure{0.9, 8, 16 * ms}},
	}
	for _, test := range tests {
		var typ typical
		typ.begin(serving(10000, 10000))
		now := serving(10000+test.accepted, 10000+test.short)
		now.Durations[8] = test.slower
		if got := typ.choose(now, 100*ms); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestCandidateLikeTheActiveOneIsNotStuck bakes many candidates that work as the
// active generation does, which has long connections: one by one, and in swarms.
func TestCandidateLikeTheActiveOneIsNotStuck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		perSecond float64 // of short ones
		long      float64 // of all
		swarm     int     // how many long ones come at once
	}{
		{"few long ones", 200, 0.05, 1},
		{"many", 200, 0.3, 1},
		{"nearly half", 200, 0.48, 1},
		{"most", 200, 0.9, 1},
		{"rarely any", 4, 0.45, 1},
		{"many in swarms", 200, 0.3, 30},
		{"nearly half in swarms", 200, 0.48, 200},
		{"in swarms while hardly any else comes", 20, 0.4, 50},
	} {
		random := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			p := NewProgress(100 * ms)
			short := uint64(1000 * (1 - c.long))
			p.Typical(serving(1000, short))
			like := likeness{random: random, perSecond: c.perSecond, long: c.long, swarm: c.swarm}
			for at := time.Duration(0); at < 5*time.Second; at += 50 * ms { // as generations report
				if f, state := p.Observe(at, like.report(at)); state == Stuck {
					t.Fatalf("%s: at %v stuck: %+v", c.name, at, f)
				}
			}
		}
	}
}

// A likeness is a candidate with short connections, which take 10 ms, and long
// ones, which end later than all.
type likeness struct {
	random          *rand.Rand
	perSecond, long float64
	swarm           int

	next, swarms time.Duration // when the next short one comes, and the next swarm
	count        Count
	open         []time.Duration // until when
}

// report is what it has done by then.
func (l *likeness) report(at time.Duration) Count {
	for ; l.next <= at; l.next += l.after(l.perSecond) {
		l.count.Accepted++
		l.open = append(l.open, l.next+10*ms)
	}
	for ; l.swarms <= at; l.swarms += l.after(l.perSecond * l.long / (1 - l.long) / float64(l.swarm)) {
		l.count.Accepted += uint64(l.swarm)
	}
	for len(l.open) > 0 && l.open[0] <= at {
		l.open = l.open[1:]
		l.count.Finished++
	}
	return l.count
}

// after draws the time until the next of so many a second.
func (l *likeness) after(perSecond float64) time.Duration {
	return time.Duration(l.random.ExpFloat64() / perSecond * float64(time.Second))
}
