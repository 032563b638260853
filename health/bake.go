package health

// Bake decides whether the cut-over must be undone: before a queue is full,
// never because of one burst. It trips when a listener that is judged
//   - drops: its counter moved since the first observation,
//   - stands: connections have waited longer than the target for the interval,
//   - fills: it is at least half full and, growing as it does, will be full
//     within Limits.Reaction; or is full,
//   - does not listen any more.
//
// A Watched that is Tolerant, with a baseline, trips on what is worse than
// that: see Gate; that it fills counts only from where it is deeper than
// before, and that it is full only if it neither dropped nor was full.
//
// Not for concurrent use. Observing allocates nothing.
type Bake struct {
	queues  []bakeQueue
	tripped bool
	found   Finding
}

type bakeQueue struct {
	bar
	counter  dropCounter
	presence presence
	growth   Growth
}

// NewBake returns a Bake over the listeners. Drops count from the first
// observation on: give it the last one before the cut-over.
func NewBake(watched []Watched) *Bake {
	b := &Bake{queues: make([]bakeQueue, len(watched))}
	for i, w := range watched {
		q := &b.queues[i]
		q.bar = newBar(w)
		q.presence = newPresence(q.limits.Target, q.limits.Interval)
		q.growth.Window = min(q.limits.Reaction, growthDefault)
	}
	return b
}

// Observe takes one observation of each listener, in the order of the watched;
// their times do not go back. Once it has tripped it stays so, with the same
// finding. Until then the finding is the zero value, or of ReasonUnseen if there
// was not one observation for each listener.
func (b *Bake) Observe(obs []Observation) (f Finding, tripped bool) {
	if b.tripped {
		return b.found, true
	}
	if len(obs) != len(b.queues) || len(obs) == 0 {
		return Finding{Reason: ReasonUnseen}, false
	}
	for i := range b.queues {
		q := &b.queues[i]
		if q.off {
			continue
		}
		if h, bad := q.observe(obs[i]); bad && (!b.tripped || h.outweighs(b.found)) {
			b.tripped, b.found = true, h
		}
	}
	return b.found, b.tripped
}

func (q *bakeQueue) observe(o Observation) (Finding, bool) {
	if !o.Listening {
		return q.finding(ReasonNotListening, o), true
	}
	q.presence.observe(o)
	q.growth.Observe(o.At, o.Depth)
	if q.counter.observe(o, 0) > 0 && q.drops {
		return q.counter.found(&q.bar, o.At), true
	}
	if q.presence.For(o.At) >= q.limits.Interval {
		f := q.finding(ReasonStanding, o)
		f.Since, _ = q.presence.Since()
		return f, true
	}
	return q.filling(o)
}

func (q *bakeQueue) filling(o Observation) (Finding, bool) {
	if o.Full() {
		return q.finding(ReasonFilling, o), q.full(o)
	}
	if uint64(o.Depth) < q.half(o) {
		return Finding{}, false
	}
	in, grows := q.growth.FullIn(o.Sample)
	if !grows || in > q.limits.Reaction {
		return Finding{}, false
	}
	f := q.finding(ReasonFilling, o)
	f.FullIn = in
	f.Growth, _ = q.growth.PerSecond()
	return f, true
}
