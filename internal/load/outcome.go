package load

import (
	"iter"
	"time"
)

// An Outcome is what became of one request that was answered or failed.
type Outcome struct {
	// Traffic is the name of the Traffic that it belongs to.
	Traffic string
	// Due is when it was due, to 0.1 ms; for InFlight when it was sent.
	Due time.Time
	// Latency is how long after that its answer was complete, or it was clear
	// that none comes, to 1 µs.
	Latency time.Duration
	// Failure is the way in which it failed; empty for none.
	Failure FailureKind
	// Generation is the one that the answer named; empty for none.
	Generation string
}

// Ended is when the answer was complete, or it was clear that none comes.
func (o Outcome) Ended() time.Time { return o.Due.Add(o.Latency) }

// Outcomes walks over all requests that have ended, those of one Traffic after
// the other, each in the order in which they were due. It is complete once Stop
// has returned, but for requests that were cut off: they have no outcome.
func (r *Run) Outcomes() iter.Seq[Outcome] {
	return func(yield func(Outcome) bool) {
		for _, l := range r.loops {
			for _, s := range l.samples.all() {
				if !yield(l.outcome(s)) {
					return
				}
			}
		}
	}
}

func (l *loop) outcome(s sample) Outcome {
	o := Outcome{Traffic: l.Name, Due: l.started.Add(s.begin()), Latency: s.duration()}
	if s.failure != 0 {
		o.Failure = failureKinds()[s.failure-1]
	}
	if s.generation != 0 {
		o.Generation = l.generations.name(s.generation)
	}
	return o
}
