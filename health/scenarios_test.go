package health

import (
	"math"
	"time"
)

// A scenario is a trace that is simulated.
type scenario struct {
	story   []string
	watched Watched // without a name: http
	from    time.Duration
	until   time.Duration
	simulation
}

// record runs the scenario and keeps what is seen from its beginning on.
func (s scenario) record() trace {
	tr := trace{watched: s.watched}
	if tr.watched.Name == "" {
		tr.watched.Name = "http"
	}
	for _, line := range s.story {
		tr.story = append(tr.story, "# "+line)
	}
	s.run(s.until, func(o Observation) bool {
		if o.At >= s.from {
			o.At -= s.from
			o.Arrivals = math.Round(o.Arrivals)
			tr.rows = append(tr.rows, o)
		}
		return true
	})
	return tr
}

const ms = time.Millisecond

// simulated are the scenarios by the names of their traces. Each runs for a
// while before the trace begins, so that the arrivals are known.
var simulated = map[string]scenario{
	"healthy": {
		story: []string{"20,000 connections a second; the server takes them in turns with other work,", "so that some 30 wait at a time, for up to 2 ms."},
		from:  200 * ms, until: 400 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(20000), accepts: turns(2*ms, 60000), every: 2 * ms, look: 1, seed: 1},
	},
	"jitter": {
		story: []string{"As healthy, with a queue of 128. That is too short for the gate to open: a server that", "stopped would fill it in 6 ms. But while it serves, the bake has nothing against it."},
		from:  200 * ms, until: 400 * ms,
		simulation: simulation{limit: 128, arrivals: steady(20000), accepts: turns(2*ms, 60000), every: 1 * ms, look: 1, seed: 1},
	},
	"stall-fast": {
		story: []string{"5,000 connections a second, and a server that stops accepting at 120 ms. The queue", "of 128 is full 26 ms later; the bake trips when it is half full."},
		from:  200 * ms, until: 360 * ms,
		simulation: simulation{limit: 128, arrivals: steady(5000), accepts: between(320*ms, never, 0, 20000), every: 1 * ms, look: 1},
	},
	"stall-short-queue": {
		story: []string{"1,000 connections a second and a queue of 128. The server stops accepting at 120 ms.", "The bake trips 50 ms before the queue is full."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 128, arrivals: steady(1000), accepts: between(320*ms, never, 0, 5000), every: 2 * ms, look: 1},
	},
	"stall-long-queue": {
		story: []string{"As stall-short-queue, but with room for 4096: the queue is far from full when it has", "stood for the interval."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(1000), accepts: between(320*ms, never, 0, 5000), every: 5 * ms, look: 1},
	},
	"stall-unseen": {
		story: []string{"As stall-long-queue, with heads that cannot be seen: a Unix socket, or a listener of", "another network namespace. They are estimated from depth and arrivals."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(1000), accepts: between(320*ms, never, 0, 5000), every: 5 * ms},
	},
	"stall-seldom-seen": {
		story: []string{"As stall-long-queue, with a look at the head at each tenth observation only: one late", "look proves for how long the queue has stood."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(1000), accepts: between(320*ms, never, 0, 5000), every: 5 * ms, look: 10},
	},
	"slow-acceptor": {
		story: []string{"A server that needs 5 ms for each of 1,000 connections a second, from 120 ms on."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(1000), accepts: between(320*ms, never, 200, 5000), every: 5 * ms, look: 1},
	},
	"burst": {
		story: []string{"60 connections come within a millisecond into a queue of 128 and are taken within 5 ms."},
		from:  200 * ms, until: 340 * ms,
		simulation: simulation{limit: 128, arrivals: between(300*ms, 301*ms, 60000, 1000), accepts: steady(15000), every: 1 * ms, look: 1},
	},
	"large-burst": {
		story: []string{"110 connections come within two milliseconds into a queue of 128 and are taken within", "10 ms. Nearly full is not full, and the queue does not grow any more."},
		from:  200 * ms, until: 340 * ms,
		simulation: simulation{limit: 128, arrivals: between(300*ms, 302*ms, 55000, 1000), accepts: steady(12000), every: 1 * ms, look: 1},
	},
	"pause": {
		story: []string{"A server that stands still for 60 ms, once, and catches up."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 128, arrivals: steady(1000), accepts: between(320*ms, 380*ms, 0, 10000), every: 2 * ms, look: 1},
	},
	"ramp": {
		story: []string{"From 1,000 to 20,000 connections a second within 200 ms; the server follows."},
		from:  200 * ms, until: 500 * ms,
		simulation: simulation{limit: 4096, arrivals: ramp(250*ms, 450*ms, 1000, 20000), accepts: turns(2*ms, 60000), every: 5 * ms, look: 1, seed: 1},
	},
	"burst-then-quiet": {
		story: []string{"A burst that the queue cannot hold, and then nothing: the gate opens a window after the", "last drop."},
		from:  200 * ms, until: 480 * ms,
		simulation: simulation{limit: 128, arrivals: between(250*ms, 255*ms, 60000, 100), accepts: steady(10000), every: 5 * ms, look: 1},
	},
	"four-fifths-full": {
		story:   []string{"103 of 128 wait all the time, at 1,000 connections a second: each of them for 100 ms.", "That it was so before is no excuse."},
		watched: Watched{Baseline: Baseline{Known: true, Depth: 103, Head: 96 * ms}},
		from:    300 * ms, until: 600 * ms,
		simulation: simulation{limit: 128, arrivals: steady(1000), accepts: between(0, 103*ms, 0, 1000), every: 5 * ms, look: 1},
	},
	"forced-four-fifths-full": {
		story:   []string{"As four-fifths-full, with an upgrade that is forced: it makes nothing worse."},
		watched: Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 103, Head: 96 * ms}},
		from:    300 * ms, until: 600 * ms,
		simulation: simulation{limit: 128, arrivals: steady(1000), accepts: between(0, 103*ms, 0, 1000), every: 5 * ms, look: 1},
	},
	"forced-while-full": {
		story:   []string{"A queue that is full and drops, and an upgrade that is forced to mend that. The server", "goes on as badly as it was."},
		watched: Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 129, Head: 124 * ms, Dropping: true}},
		from:    300 * ms, until: 600 * ms,
		simulation: simulation{limit: 128, arrivals: steady(2000), accepts: steady(1000), every: 5 * ms, look: 1},
	},
	"forced-while-full-stalls": {
		story:   []string{"As forced-while-full, but from 120 ms on the server accepts nothing at all."},
		watched: Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 129, Head: 124 * ms, Dropping: true}},
		from:    300 * ms, until: 900 * ms,
		simulation: simulation{limit: 128, arrivals: steady(2000), accepts: between(420*ms, never, 0, 1000), every: 5 * ms, look: 1},
	},
	"forced-stalls": {
		story:   []string{"An upgrade that is forced while connections wait for 40 ms. From 120 ms on the server", "accepts nothing at all, and the queue is far from full."},
		watched: Watched{Tolerant: true, Baseline: Baseline{Known: true, Depth: 40, Head: 36 * ms}},
		from:    300 * ms, until: 700 * ms,
		simulation: simulation{limit: 4096, arrivals: steady(1000), accepts: func(at time.Duration) float64 {
			if at < 40*ms || at >= 420*ms {
				return 0
			}
			return 1000
		}, every: 5 * ms, look: 1},
	},
	"too-short": {
		story: []string{"10,000 connections a second are taken at once. But the queue of 128 would be full in", "13 ms if nobody did."},
		from:  200 * ms, until: 400 * ms,
		simulation: simulation{limit: 128, arrivals: steady(10000), accepts: steady(50000), every: 5 * ms, look: 1},
	},
}

// turns is a server that accepts in the second half of each period.
func turns(period time.Duration, perSecond float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at%period < period/2 {
			return 0
		}
		return perSecond
	}
}

// ramp goes evenly from one rate to the other.
func ramp(from, to time.Duration, low, high float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		part := float64(at-from) / float64(to-from)
		return low + (high-low)*min(max(part, 0), 1)
	}
}
