package health

import "time"

// Pacer decides whether draining clients should be kept for now. Those that are
// told to go connect anew, to the queue of the generation that accepts now.
//
// It holds while a queue is more than half full, drops, or has had connections
// that waited for half the target and longer, for a quarter of the interval;
// and lets go when none of that has been so for a quarter of the interval.
// Half of what would be held against the new generation is the share that the
// drain may take.
//
// Not for concurrent use. Observing allocates nothing.
type Pacer struct {
	queues []pacerQueue
}

type pacerQueue struct {
	bar
	counter  dropCounter
	presence presence
	hold     bool
	reason   time.Duration // when there was one to hold last, if hold
}

// NewPacer returns a Pacer over the listeners. It does not hold at first.
func NewPacer(watched []Watched) *Pacer {
	p := &Pacer{queues: make([]pacerQueue, len(watched))}
	for i, w := range watched {
		q := &p.queues[i]
		q.bar = newBar(w)
		q.presence = newPresence(q.limits.Target/2, q.limits.Interval)
	}
	return p
}

// Observe takes one observation of each listener, in the order of the watched;
// their times do not go back. Another number of them is no reason to hold.
func (p *Pacer) Observe(obs []Observation) (hold bool) {
	if len(obs) != len(p.queues) {
		return false
	}
	for i := range p.queues {
		q := &p.queues[i]
		if !q.off {
			q.observe(obs[i])
			hold = hold || q.hold
		}
	}
	return hold
}

func (q *pacerQueue) observe(o Observation) {
	long := q.limits.Interval / 4
	q.presence.observe(o)
	_, waits := q.presence.Since()
	dropped := q.counter.observe(o, 0) > 0
	full := o.fill() > 0.5
	switch {
	case full || dropped || waits && (q.hold || q.presence.For(o.At) >= long):
		q.hold, q.reason = true, o.At
	case q.hold && o.At-q.reason >= long:
		q.hold = false
	}
}
