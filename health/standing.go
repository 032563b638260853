package health

import "time"

// Standing tells since when connections have waited longer than Target all the
// time. It is CoDel's idea (RFC 8289): what counts is the least sojourn over an
// interval, not the depth. A burst that is soon taken is no standing queue, and
// ten connections that nobody takes are one.
//
// A queue is first in, first out. So a head that is A old at the time t proves
// that at every moment since t-A+Target the oldest connection had waited longer
// than Target: one late look is enough. What several looks prove is joined, and
// ends with an empty queue or a head below Target. Ages come in steps of a
// jiffy, so what is proven may be as much too early or too late.
//
// The zero value is ready. Observing allocates nothing.
type Standing struct {
	// Target is the age that the oldest connection may have. Default 5 ms.
	Target time.Duration
	// Gap is the longest time between what two looks prove that is taken to
	// have been like them. Default five times Target.
	Gap time.Duration

	stands      bool
	since, seen time.Duration // the first proven moment, the last
}

// Observe takes one look; at does not go back. A look at a queue that is not
// empty and whose head is not known changes nothing.
func (s *Standing) Observe(at time.Duration, depth uint32, head time.Duration, headKnown bool) {
	target := s.target()
	if depth == 0 || headKnown && head < target {
		s.stands = false
		return
	}
	if !headKnown {
		return
	}
	since := at - head + target
	if s.stands && since <= s.seen+s.gap() {
		since = min(since, s.since)
	}
	s.stands, s.since, s.seen = true, since, at
}

// Since returns since when the queue stands; ok is false if it does not.
func (s *Standing) Since() (at time.Duration, ok bool) { return s.since, s.stands }

// For returns for how long the queue has stood at a moment not before the last
// look; 0 if it does not. Without further looks it grows by no more than Gap.
func (s *Standing) For(at time.Duration) time.Duration {
	if !s.stands {
		return 0
	}
	return max(0, min(at, s.seen+s.gap())-s.since)
}

func (s *Standing) target() time.Duration {
	if s.Target > 0 {
		return s.Target
	}
	return Limits{}.WithDefaults().Target
}

func (s *Standing) gap() time.Duration {
	if s.Gap > 0 {
		return s.Gap
	}
	return 5 * s.target()
}

// proofLasts is for how many gaps after a head was seen estimates may go on from
// what it proved.
const proofLasts = 8

// A presence is a Standing that helps itself where heads are not seen: with
// Little's law, by which whoever arrives now waits depth/arrivals until it is
// accepted. An estimate proves nothing of the past, but does not take away
// what was proven either.
type presence struct {
	Standing
	begun  bool
	looked time.Duration // when the head was known last
}

// newPresence bridges a quarter of the interval between two looks.
func newPresence(target, interval time.Duration) presence {
	return presence{Standing: Standing{Target: target, Gap: interval / 4}}
}

func (p *presence) observe(o Observation) {
	head, known := o.Head, o.HeadKnown
	if known || !p.begun {
		p.begun, p.looked = true, o.At
	}
	if !known && o.At-p.looked > p.gap() && o.Arrivals >= 0 {
		known, head = true, 0
		if float64(o.Depth) >= o.Arrivals*p.target().Seconds() {
			head = p.target()
			if p.stands && o.At-p.looked <= proofLasts*p.gap() { // it goes on: what was proven is not lost
				p.seen = o.At
				return
			}
		}
	}
	p.Observe(o.At, o.Depth, head, known)
}

// A spell notices that something bad lasted for long without a break, and
// remembers it.
type spell struct {
	on     bool
	since  time.Duration // of the present one, if on
	last   Observation   // the last that was part of a long one
	began  time.Duration // of the long one
	lasted bool          // there was a long one
}

// observe takes whether it is bad now, and if so since when.
func (s *spell) observe(o Observation, bad bool, since, long time.Duration) {
	if bad && (!s.on || since < s.since) {
		s.since = since
	}
	s.on = bad
	if bad && o.At-s.since >= long {
		s.lasted, s.last, s.began = true, o, s.since
	}
}

// within tells whether a long one ended less than window ago.
func (s *spell) within(at, window time.Duration) bool {
	return s.lasted && at-s.last.At < window
}
