package health

import "time"

// Gate decides whether the active generation may stop accepting. It opens when
// every listener that is judged has been well for the whole window up to now:
//   - it listens, and its drop counter did not move,
//   - its queue did not stand for the interval, nor do connections wait longer
//     than the target now,
//   - it was not for the interval, nor is it now, deeper than its baseline by
//     more than max(8, limit/16, what arrives in the target),
//   - as for the room it has: not less than what arrives in Limits.Headroom.
//
// The last two have no memory of a moment, as a burst is no reason to wait. And
// all were looked at now: an observation that is older than the others is none.
// What is not known is not held against a queue: the head's age, the arrivals,
// the baseline. Where the head is not seen, it is estimated from depth and
// arrivals.
//
// A Watched that is Tolerant, with a baseline, is judged by what is worse than
// that: drops only if there were none, a standing queue only if connections
// wait twice as long as they did, depth as above, headroom not at all.
//
// Not for concurrent use. Observing allocates nothing.
type Gate struct {
	window time.Duration
	queues []gateQueue
	begun  bool
	began  time.Duration // of watching
}

type gateQueue struct {
	bar
	deaf        bool // it has been seen not to listen, then in
	lastDeaf    Observation
	counter     dropCounter
	presence    presence
	stood       spell
	wasDeep     spell
	wasTooShort spell
}

// NewGate returns a Gate that opens when all has been well for the window. It
// counts from the first observation.
func NewGate(watched []Watched, window time.Duration) *Gate {
	g := &Gate{window: max(window, 1), queues: make([]gateQueue, len(watched))}
	for i, w := range watched {
		q := &g.queues[i]
		q.bar = newBar(w)
		q.presence = newPresence(q.limits.Target, q.limits.Interval)
	}
	return g
}

// Observe takes one observation of each listener, in the order of the watched;
// their times do not go back. f is what speaks against opening: ReasonUnseen
// if nothing does but the time; or ReasonSettled if it is open. A gate that was
// open may close again.
func (g *Gate) Observe(obs []Observation) (f Finding, open bool) {
	if len(obs) != len(g.queues) || len(obs) == 0 {
		return Finding{Reason: ReasonUnseen}, false
	}
	at := latest(obs)
	if !g.begun {
		g.begun, g.began = true, at
	}
	objected := false
	for i := range g.queues {
		q := &g.queues[i]
		if q.off {
			continue
		}
		q.observe(obs[i], g.window)
		h, ok := q.objection(obs[i], g.window)
		if !ok && obs[i].At < at { // it has failed to be looked at now
			h, ok = q.finding(ReasonUnseen, obs[i]), true
			h.Ago = at - obs[i].At
		}
		if ok && (!objected || h.outweighs(f)) {
			f, objected = h, true
		}
	}
	switch {
	case objected:
		return f, false
	case at-g.began < g.window:
		return Finding{Reason: ReasonUnseen, For: at - g.began, Window: g.window}, false
	}
	return g.settled(obs), true
}

// settled names the listener that has the least room in proportion.
func (g *Gate) settled(obs []Observation) Finding {
	f := Finding{Reason: ReasonSettled}
	for i := range g.queues {
		q := &g.queues[i]
		if !q.off && (f.Listener == "" || obs[i].fill() > f.Observation.fill()) {
			f = q.finding(ReasonSettled, obs[i])
		}
	}
	f.For, f.Window = g.window, g.window
	return f
}

func (q *gateQueue) observe(o Observation, window time.Duration) {
	if !o.Listening {
		q.deaf, q.lastDeaf = true, o
		return
	}
	q.counter.observe(o, window)
	q.presence.observe(o)
	since, stands := q.presence.Since()
	q.stood.observe(o, stands, since, q.limits.Interval)
	q.wasDeep.observe(o, q.deep(o), o.At, q.limits.Interval)
	q.wasTooShort.observe(o, q.short(o), o.At, q.limits.Interval)
}

// objection is what most speaks against this queue.
func (q *gateQueue) objection(o Observation, window time.Duration) (Finding, bool) {
	switch {
	case q.deaf && o.At-q.lastDeaf.At < window:
		f := q.finding(ReasonNotListening, q.lastDeaf)
		f.Ago = o.At - q.lastDeaf.At
		return f, true
	case q.drops && q.counter.within(o.At, window):
		return q.counter.found(&q.bar, o.At), true
	case q.stood.on || q.stood.within(o.At, window):
		return q.lasting(ReasonStanding, &q.stood, o), true
	case q.wasTooShort.on || q.wasTooShort.within(o.At, window):
		return q.lasting(ReasonHeadroom, &q.wasTooShort, o), true
	case q.wasDeep.on || q.wasDeep.within(o.At, window):
		return q.lasting(ReasonDepth, &q.wasDeep, o), true
	}
	return Finding{}, false
}

// lasting tells of a spell: as it is now, or as it was.
func (q *gateQueue) lasting(r Reason, s *spell, o Observation) Finding {
	seen, since := o, s.since
	if !s.on {
		seen, since = s.last, s.began
	}
	f := q.finding(r, seen)
	f.Since, f.Ago, f.Baseline = since, o.At-seen.At, q.baseline.Depth
	return f
}

// latest is the time of the latest of the observations.
func latest(obs []Observation) time.Duration {
	at := obs[0].At
	for _, o := range obs[1:] {
		at = max(at, o.At)
	}
	return at
}
