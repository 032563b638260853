package health

import "time"

// Growth estimates how fast a queue grows.
type Growth struct {
	// Window is how far back it looks. Default 50 ms.
	Window time.Duration
}

// Observe takes one depth; at does not go back.
func (g *Growth) Observe(at time.Duration, depth uint32) {}

// PerSecond is by how many connections a second the queue grows; ok is false
// if it does not, or not yet surely.
func (g *Growth) PerSecond() (rate float64, ok bool) { return 0, false }

// FullIn is when the queue of the latest sample will be full.
func (g *Growth) FullIn(s Sample) (in time.Duration, ok bool) { return 0, false }
