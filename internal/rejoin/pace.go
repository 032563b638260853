package rejoin

import "time"

const (
	// A supervisor that is killed is back within a fraction of a second where
	// somebody restarts it. Later, looking for it must cost nothing.
	firstSearch = 20 * time.Millisecond
	searchPace  = time.Second
	// stoppedAfter is how long the rendezvous' folder is missing before that
	// means that the service was stopped.
	stoppedAfter = time.Second
)

// A finding is how an attempt to reach a supervisor ended.
type finding int

const (
	nobody    finding = iota // nobody is there yet, or not for long
	refused                  // somebody is, and does not want this generation
	trouble                  // anything else
	noFolder                 // the folder of the rendezvous is gone
	dismissed                // somebody is, and never will take this generation
)

// A pace decides when a process looks for its next supervisor. It begins with a
// wait of firstSearch.
type pace struct {
	waited  time.Duration
	missing time.Time // since when the folder is; zero: it is there
}

// next takes what was found at the moment now. It returns how long to wait, and
// whether the service was stopped: the folder was missing all the time.
func (s *pace) next(f finding, now time.Time) (wait time.Duration, stopped bool) {
	s.waited = min(max(2*s.waited, 2*firstSearch), searchPace)
	if f != noFolder {
		s.missing = time.Time{}
		if f == refused {
			s.waited = searchPace
		}
		return s.waited, false
	}
	if s.missing.IsZero() {
		s.missing = now
	}
	left := stoppedAfter - now.Sub(s.missing)
	if left <= 0 {
		return searchPace, true
	}
	return min(s.waited, left), false
}
