package health

import (
	"slices"
	"time"
)

// cost estimates what a look takes, by the least of the last few: what it takes
// beyond that, it waited for the processor, and that is no reason to look less
// often.
type cost struct {
	last  [8]time.Duration // a ring
	n     int
	total time.Duration
}

func (c *cost) add(d time.Duration) {
	c.last[c.n%len(c.last)] = max(d, 1)
	c.n++
	c.total += d
}

// pause is how far apart looks must be to take no more than a share of one core.
func (c *cost) pause(share float64) time.Duration {
	if c.n == 0 {
		return 0
	}
	return time.Duration(float64(slices.Min(c.last[:min(c.n, len(c.last))])) / share)
}
