package health

import (
	"slices"
	"time"
)

const (
	// baselineTime is how far back a baseline goes, in so many parts. Each part
	// keeps one depth and the least head.
	baselineTime  = time.Second
	baselineParts = 64
)

// Recent remembers what would make it unwise to deploy now, and how the queues
// usually are. It is fed with every observation from the start of the
// supervisor on, so that an answer is there at once when it is asked for.
//
// Not for concurrent use. Observing allocates nothing.
type Recent struct {
	memory time.Duration
	queues []recentQueue
}

type recentQueue struct {
	bar
	now      Observation
	seen     bool
	counter  dropCounter
	presence presence
	parts    [baselineParts]baselinePart // a ring
	next     int
}

type baselinePart struct {
	used  bool
	at    time.Duration // it began
	depth uint32
	known bool // head is
	head  time.Duration
}

// NewRecent returns a Recent over the listeners of these names and limits, two
// slices of the same length. It remembers a drop for as long as memory.
func NewRecent(names []string, limits []Limits, memory time.Duration) *Recent {
	r := &Recent{memory: max(memory, 1), queues: make([]recentQueue, len(names))}
	for i, name := range names {
		q := &r.queues[i]
		q.bar = newBar(Watched{Name: name, Limits: limits[i]})
		q.presence = newPresence(q.limits.Target, q.limits.Interval)
	}
	return r
}

// change has it go on with other listeners: from says at which place one was
// before, or -1. What it remembers of those that stay it keeps.
func (r *Recent) change(names []string, limits []Limits, from []int) {
	next := NewRecent(names, limits, r.memory)
	for i, was := range from {
		if was < 0 {
			continue
		}
		q, before := &next.queues[i], r.queues[was]
		before.bar = q.bar
		before.presence.Target, before.presence.Gap = q.presence.Target, q.presence.Gap
		*q = before
	}
	r.queues = next.queues
}

// Observe takes one observation of each listener, in the order of the names;
// their times do not go back. Another number of them is ignored.
func (r *Recent) Observe(obs []Observation) {
	if len(obs) != len(r.queues) {
		return
	}
	for i := range r.queues {
		r.queues[i].observe(obs[i], r.memory)
	}
}

// Objection returns what most speaks against a deployment at the time of the
// last observation: a listener that does not listen, drops not longer ago than
// the memory, a queue that stands. ok is false if nothing does. Listeners that
// are off are not asked.
func (r *Recent) Objection() (f Finding, ok bool) {
	for i := range r.queues {
		q := &r.queues[i]
		if q.off || !q.seen {
			continue
		}
		if g, bad := q.objection(r.memory); bad && (!ok || g.outweighs(f)) {
			f, ok = g, true
		}
	}
	return f, ok
}

// sure reports whether the last observation settles for each listener that is
// asked whether its queue stands.
func (r *Recent) sure() bool {
	for i := range r.queues {
		if q := &r.queues[i]; !q.off && !q.sure() {
			return false
		}
	}
	return true
}

// Baselines returns how each queue was in the last second before the last
// observation, in the order of the names: the median depth and the least head,
// an empty queue's being 0. Dropping goes back as far as the memory, so that
// what admission was forced to overlook is known to whoever judges by the
// baseline.
func (r *Recent) Baselines() []Baseline {
	baselines := make([]Baseline, len(r.queues))
	for i := range r.queues {
		baselines[i] = r.queues[i].baseline(r.memory)
	}
	return baselines
}

func (q *recentQueue) observe(o Observation, memory time.Duration) {
	q.now, q.seen = o, true
	if !o.Listening {
		return
	}
	q.counter.observe(o, memory)
	q.presence.observe(o)
	part := &q.parts[q.next]
	if !part.used || o.At-part.at >= baselineTime/baselineParts {
		if part.used {
			q.next = (q.next + 1) % baselineParts
			part = &q.parts[q.next]
		}
		*part = baselinePart{used: true, at: o.At, depth: o.Depth}
	}
	head, known := o.Head, o.HeadKnown
	if o.Depth == 0 {
		head, known = 0, true
	}
	if known && (!part.known || head < part.head) {
		part.head, part.known = head, true
	}
}

func (q *recentQueue) objection(memory time.Duration) (Finding, bool) {
	at := q.now.At
	switch {
	case !q.now.Listening:
		return q.finding(ReasonNotListening, q.now), true
	case q.counter.within(at, memory):
		return q.counter.found(&q.bar, at), true
	case q.presence.For(at) >= q.limits.Interval:
		f := q.finding(ReasonStanding, q.now)
		f.Since, _ = q.presence.Since()
		return f, true
	}
	return Finding{}, false
}

func (q *recentQueue) sure() bool {
	o := q.now
	if !o.Listening || o.Depth == 0 {
		return true
	}
	_, waits := q.presence.Since()
	return o.HeadKnown && (!waits || q.presence.For(o.At) >= q.limits.Interval)
}

func (q *recentQueue) baseline(memory time.Duration) Baseline {
	var depths [baselineParts]uint32
	n, known := 0, false
	b := Baseline{Dropping: q.counter.within(q.now.At, memory)}
	for i := range q.parts {
		p := &q.parts[i]
		if !p.used || q.now.At-p.at > baselineTime {
			continue
		}
		depths[n] = p.depth
		n++
		if p.known && (!known || p.head < b.Head) {
			b.Head, known = p.head, true
		}
	}
	if n == 0 {
		return b
	}
	slices.Sort(depths[:n])
	b.Known, b.Depth = true, depths[n/2]
	return b
}
