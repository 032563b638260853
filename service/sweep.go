package service

import "time"

// A sweep is one look at the open connections while the service drains.
type sweep struct {
	now, began time.Time
	idle       time.Duration // how long an idle connection is kept
	grace      time.Duration // how long an HTTP/2 client has after GOAWAY
	held       bool          // idle connections stay for now
	late       bool          // the last tenth of the drain: nothing is held any more
	short      bool          // there is no time to tell the clients in batches
	open       int           // connections left
}

// sweepOf is the look at the moment now of a drain.
func sweepOf(now, began, deadline time.Time, idle time.Duration) sweep {
	whole := deadline.Sub(began)
	s := sweep{now: now, began: began, idle: min(idle, whole/10*9), grace: goAwayGrace}
	s.late = deadline.Sub(now) <= whole/10
	if s.late {
		// Whoever is told now, or ends its last stream now, has a third of what
		// is left at most; the rest is for closing in batches.
		s.grace = min(s.grace, whole/30)
	}
	s.short = s.late || whole < 3*goAwayGrace
	return s
}

// batches are how many of n connections may be closed in this sweep, and how
// many told to go: their clients come back to another generation, which must not
// get them all at once. They come back to an accept queue of that limit, 0 if it
// is not known. An eighth of it does not fill it before whoever watches it can
// say hold: the supervisor looks every other tick. At the very end that counts
// less than to be done.
func (s *sweep) batches(n, limit int) (closing, telling int) {
	batch := max(16, n/20)
	if limit > 0 && !s.late {
		batch = min(batch, max(1, limit/8))
	}
	switch {
	case s.held:
		return 0, 0
	case s.short:
		return batch, n
	}
	return batch, batch
}
