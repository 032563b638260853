package health

import "time"

// Rate smooths a growing total to a rate per second.
type Rate struct{}

// Observe takes the total at a moment.
func (r *Rate) Observe(at time.Duration, total uint64) {}

// PerSecond returns the rate; negative until it is known.
func (r *Rate) PerSecond() float64 { return -1 }
