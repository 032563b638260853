package health

import "time"

// SojournBuckets is the number of elements of a sojourn histogram: element i
// counts connections that waited less than 2^i ms and not less than 2^(i-1) ms;
// element 0 those below 1 ms, the last one all the longer ones.
const SojournBuckets = 24

// A Count is what one generation says of one listener: totals since its start.
type Count struct {
	Listener string `json:"listener"`
	Accepted uint64 `json:"accepted"`
	// Finished counts closed connections and, for HTTP, answered requests.
	Finished uint64 `json:"finished"`
	Active   int64  `json:"active"`
	// Durations is a histogram of how long closed connections were open, in the
	// buckets of a sojourn histogram. Nil if it is not known.
	Durations []uint64 `json:"durations,omitempty"`
	// Sojourn is a histogram of how long accepted connections had waited. Nil
	// if it is not known.
	Sojourn []uint64 `json:"sojourn,omitempty"`
}

// Figures are what the Monitor shows of one listener.
type Figures struct {
	Name   string
	Limits Limits
	// Observation is the latest.
	Observation Observation
	// Waiting is what the latest look into the queue found, and WaitingAt when,
	// as Observation.At.
	Waiting   Waiting
	WaitingAt time.Duration
	// Drops is by how much the drop counter moved since the start of the Monitor,
	// or of the first of those whose places it has taken,
	// DropsPerSecond its rate over the last second or so; only if DropsKnown.
	DropsKnown     bool
	Drops          uint64
	DropsPerSecond float64
	// FullIn is when the queue would be full, growing as it does; only if
	// Growing.
	FullIn  time.Duration
	Growing bool
	// SojournP99 bounds the sojourn of 99 % of the connections that were
	// accepted in the last seconds; only if SojournKnown.
	SojournP99   time.Duration
	SojournKnown bool
	// Generations are those that have reported, in their order.
	Generations []GenerationFigures
}

// lookLasts is for how long a look into a queue tells of its oldest connection:
// not every observation comes with one.
const lookLasts = time.Second

// Oldest is how long the oldest connection has waited: 0 if the queue is empty,
// else what the latest look found if that is not long ago; ok is false if it is
// not known.
func (f Figures) Oldest() (d time.Duration, ok bool) {
	o := f.Observation
	switch {
	case o.Depth == 0:
		return 0, true
	case o.HeadKnown:
		return o.Head, true
	}
	recent := f.Waiting.Known && f.Waiting.Count > 0 && o.At-f.WaitingAt <= lookLasts
	if !recent {
		return 0, false
	}
	return f.Waiting.Oldest, true
}

// GenerationFigures are what one generation did with one listener.
type GenerationFigures struct {
	Generation       int
	Accepted         uint64
	AcceptsPerSecond float64
	Active           int64
	// Sojourn is the histogram of all connections that it has accepted.
	Sojourn []uint64
}
