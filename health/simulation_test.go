package health

import (
	"math/rand/v2"
	"time"
)

// A simulation is one accept queue with clients and a server, as simple as can
// be: time goes in steps of 50 us. It is the same each time it runs.
type simulation struct {
	limit uint32
	// arrivals and accepts are per second, at a moment. What a server does not
	// use of its time is lost.
	arrivals, accepts func(at time.Duration) float64
	seed              uint64        // of the arrivals' times; 0: they are evenly spread
	phase             time.Duration // of the first look
	every             time.Duration // between looks
	look              int           // each so-many-th look sees the head too; 0: none
	jiffy             time.Duration // default 4 ms

	random   *rand.Rand
	queue    []time.Duration // when those that wait have come
	drops    uint32
	dropped  time.Duration // when the first was; negative: none
	accepted uint64
	rate     Rate
	looks    int
}

const simulationStep = 50 * time.Microsecond

// run calls each with every observation, until that says to stop or the end.
func (s *simulation) run(end time.Duration, each func(Observation) bool) {
	if s.jiffy == 0 {
		s.jiffy = 4 * time.Millisecond
	}
	s.random = rand.New(rand.NewPCG(s.seed, 1))
	s.dropped = -1
	next, coming, taking := s.phase, 0.0, 0.0
	for at := time.Duration(0); at < end; at += simulationStep {
		expected := s.arrivals(at) * simulationStep.Seconds()
		if s.seed != 0 {
			expected *= s.random.ExpFloat64()
		}
		for coming += expected; coming >= 1; coming-- {
			s.arrive(at)
		}
		for taking += s.accepts(at) * simulationStep.Seconds(); taking >= 1; taking-- {
			if len(s.queue) == 0 {
				taking = 0
				break
			}
			s.queue, s.accepted = s.queue[1:], s.accepted+1
		}
		if at >= next {
			next += s.every
			if !each(s.observe(at)) {
				return
			}
		}
	}
}

func (s *simulation) arrive(at time.Duration) {
	if uint32(len(s.queue)) <= s.limit {
		s.queue = append(s.queue, at)
		return
	}
	s.drops++
	if s.dropped < 0 {
		s.dropped = at
	}
}

func (s *simulation) observe(at time.Duration) Observation {
	depth := uint32(len(s.queue))
	s.rate.Observe(at, s.accepted+uint64(depth))
	o := Observation{
		At:       at,
		Sample:   Sample{Depth: depth, Limit: s.limit, Drops: s.drops, Listening: true},
		Arrivals: s.rate.PerSecond(),
	}
	s.looks++
	switch {
	case depth == 0:
		o.HeadKnown = s.look > 0
	case s.look > 0 && s.looks%s.look == 0:
		// As the kernel does: the difference of two times in jiffies.
		o.HeadKnown, o.Head = true, at/s.jiffy*s.jiffy-s.queue[0]/s.jiffy*s.jiffy
	}
	return o
}

// steady is the same rate at all times.
func steady(perSecond float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return perSecond }
}

// between is inside in from (included) to (not), and outside at other times.
func between(from, to time.Duration, inside, outside float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at >= from && at < to {
			return inside
		}
		return outside
	}
}

// watchedOne is one listener as the deciders have it by default.
func watchedOne() []Watched { return []Watched{{Name: "http"}} }

// never is later than all.
const never = time.Hour
