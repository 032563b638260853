package health

import (
	"math"
	"time"
)

// A dropCounter notices that a drop counter moved. It wraps: only that it
// differs means something.
type dropCounter struct {
	begun bool
	value uint32
	// moved: it has, by dropped in all since it was last quiet for the memory;
	// last is the observation that showed it.
	moved   bool
	dropped uint32
	last    Observation
}

// observe returns by how much the counter moved since the last observation.
func (d *dropCounter) observe(o Observation, memory time.Duration) uint32 {
	by := o.Drops - d.value
	if !d.begun {
		by = 0
	}
	d.begun, d.value = true, o.Drops
	if by == 0 {
		return 0
	}
	if !d.within(o.At, memory) {
		d.dropped = 0
	}
	d.moved, d.last = true, o
	d.dropped = uint32(min(uint64(d.dropped)+uint64(by), math.MaxUint32))
	return by
}

// within tells whether it moved less than memory ago.
func (d *dropCounter) within(at, memory time.Duration) bool {
	return d.moved && at-d.last.At < memory
}

// found is the finding of the drops.
func (d *dropCounter) found(b *bar, at time.Duration) Finding {
	f := b.finding(ReasonDrops, d.last)
	f.Since, f.Dropped, f.Ago = d.last.At, d.dropped, at-d.last.At
	return f
}
