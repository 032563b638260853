package health

import "time"

const (
	// historySize is how many looks are kept of all listeners together, and
	// historyLeast of each at the least.
	historySize  = 1 << 14
	historyLeast = 64
	historyMost  = 1 << 10
	// shownSamples is how many samples of one listener are shown at most.
	shownSamples = 120
)

// history keeps the latest looks at one listener, in a ring.
type history struct {
	ring []remembered
	next int
}

type remembered struct {
	at, head  time.Duration
	drops     uint64
	depth     uint32
	headKnown bool
	valid     bool
}

// newHistory makes one for each of so many listeners.
func newHistory(listeners int) history {
	return history{ring: make([]remembered, min(max(historySize/max(listeners, 1), historyLeast), historyMost))}
}

func (h *history) add(o Observation, drops uint64) {
	h.ring[h.next] = remembered{at: o.At, head: o.Head, drops: drops, depth: o.Depth, headKnown: o.HeadKnown, valid: true}
	h.next = (h.next + 1) % len(h.ring)
}

// since returns the looks that are not older than at; their times and drops
// count from began and base. Of too many, it keeps the deepest of every few.
func (h *history) since(at, began time.Duration, base uint64) []Sampled {
	var kept []remembered
	for i := range h.ring {
		if r := h.ring[(h.next+i)%len(h.ring)]; r.valid && r.at >= at {
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	group := (len(kept) + shownSamples - 1) / shownSamples
	var shown []Sampled
	for len(kept) > 0 {
		n := min(group, len(kept))
		r := deepest(kept[:n])
		shown = append(shown, Sampled{At: r.at - began, Depth: r.depth, Head: r.head, HeadKnown: r.headKnown, Drops: r.drops - base})
		kept = kept[n:]
	}
	return shown
}

func deepest(some []remembered) remembered {
	best := some[0]
	for _, r := range some[1:] {
		if r.depth > best.depth {
			best = r
		}
	}
	return best
}
