package health

import (
	"math"
	"time"
)

const (
	// rateTime is the time constant of a Rate, rateLeast what it must have seen.
	rateTime  = 500 * time.Millisecond
	rateLeast = 50 * time.Millisecond
	// rateNone is the least rate that is one: less is what a burst of long ago
	// left.
	rateNone = 0.01
	// rateReset is for how long a total may be less than it was.
	rateReset = time.Second
)

// Rate smooths a growing total to a rate per second, such as connections that
// have arrived: all that were accepted and those that wait. What is older than
// half a second counts little. Where the reports of what was accepted come
// late, the total falls for a moment as the queue is emptied; that is waited
// out for a second, and then taken for a new start.
//
// The zero value is ready. Observing allocates nothing.
type Rate struct {
	begun  bool
	at     time.Duration // of total
	total  uint64
	sum    float64 // of the rates, each by its weight
	weight float64
	seen   time.Duration
}

// Observe takes the total at a moment; at does not go back.
func (r *Rate) Observe(at time.Duration, total uint64) {
	elapsed := at - r.at
	switch {
	case !r.begun || total < r.total && elapsed > rateReset:
		r.begun, r.at, r.total = true, at, total
		return
	case total < r.total || elapsed <= 0:
		return
	}
	fade := math.Exp(-elapsed.Seconds() / rateTime.Seconds())
	r.sum = r.sum*fade + float64(total-r.total)/elapsed.Seconds()*(1-fade)
	r.weight = r.weight*fade + 1 - fade
	r.at, r.total, r.seen = at, total, r.seen+elapsed
}

// PerSecond returns the rate; negative until it is known.
func (r *Rate) PerSecond() float64 {
	if r.seen < rateLeast || r.weight <= 0 {
		return -1
	}
	if rate := r.sum / r.weight; rate >= rateNone {
		return rate
	}
	return 0
}
