package health

import (
	"math"
)

// A bar is what one listener's queue is held against: its limits, and where an
// incident is being mended, what is worse than before.
//
// Tolerance needs a baseline; without one nothing is tolerated. With one
//   - drops count only if there were none before,
//   - so does a full queue, if it was neither full before nor dropping,
//   - connections may wait as long as Target or twice as long as the oldest
//     always had, whichever is more: a generation that accepts nothing at all
//     lets them wait longer than that, and longer,
//   - and depth counts from what it was before.
type bar struct {
	name     string
	off      bool
	limits   Limits // Target raised by tolerance
	baseline Baseline
	tolerant bool
	drops    bool // they count
}

func newBar(w Watched) bar {
	b := bar{name: w.Name, off: w.Limits.Off, limits: w.Limits.WithDefaults(), baseline: w.Baseline, drops: true}
	if w.Tolerant && w.Baseline.Known {
		b.tolerant = true
		b.drops = !w.Baseline.Dropping
		b.limits.Target = max(b.limits.Target, 2*w.Baseline.Head)
	}
	return b
}

// finding begins a Finding about the listener.
func (b *bar) finding(r Reason, o Observation) Finding {
	return Finding{Reason: r, Listener: b.name, Observation: o, Limits: b.limits}
}

// margin is by how much the depth may differ from one moment to another.
func (b *bar) margin(o Observation) uint32 {
	waits := max(o.Arrivals, 0) * b.limits.Target.Seconds()
	return max(8, o.Limit/16, uint32(min(waits, math.MaxInt32)))
}

// deep reports whether more wait than before. Where it is not known how many
// waited before, that is not judged.
func (b *bar) deep(o Observation) bool {
	return b.baseline.Known && uint64(o.Depth) > uint64(b.baseline.Depth)+uint64(b.margin(o))
}

// short reports whether the queue has too little room for the arrivals. An
// incident has no room to spare, so that is not judged while one is mended.
func (b *bar) short(o Observation) bool {
	room, known := o.Headroom()
	return known && !b.tolerant && room < b.limits.Headroom
}

// half is the depth from which on it counts that a queue grows.
func (b *bar) half(o Observation) uint64 {
	half := (uint64(o.Limit) + 2) / 2
	if b.tolerant {
		half = max(half, uint64(b.baseline.Depth)+uint64(b.margin(o)))
	}
	return half
}

// full reports whether the queue is full, and that counts.
func (b *bar) full(o Observation) bool {
	return o.Full() && b.drops && !(b.tolerant && b.baseline.Depth > o.Limit)
}
