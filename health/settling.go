package health

import (
	"fmt"
	"time"
)

// A Streak counts how often in a row the answer was no. It has no clock and
// does nothing by itself. The zero value gives up at the first no.
type Streak struct {
	// Limit is the number of answers in a row that make a reason; less than
	// one means one.
	Limit int

	count int
}

// Observe takes one answer: nil is yes. It returns nil until Limit answers in
// a row were no, and then the last reason with their number.
func (s *Streak) Observe(answer error) error {
	if answer == nil {
		s.count = 0
		return nil
	}
	s.count++
	if s.count < s.Limit {
		return nil
	}
	if s.count == 1 {
		return answer
	}
	return fmt.Errorf("%d times in a row: %w", s.count, answer)
}

// Settling decides whether all has been well for long enough. It has no clock:
// the caller says when each observation was made. The zero value is settled by
// the first yes.
type Settling struct {
	// Window is for how long the answer must have been yes.
	Window time.Duration

	well   bool
	since  time.Time // of the first yes, if well
	reason error     // the last no
}

// Observe takes one answer, nil being yes, made at a time that is not before
// that of the last one. It reports whether all has been well for the window,
// and if not, how long that will take at the least.
func (s *Settling) Observe(at time.Time, answer error) (wait time.Duration, settled bool) {
	if answer != nil {
		s.well, s.reason = false, answer
		return s.Window, false
	}
	if !s.well {
		s.well, s.since = true, at
	}
	wait = s.Window - at.Sub(s.since)
	return max(wait, 0), wait <= 0
}

// Reason returns the last answer that was no; nil if there was none.
func (s *Settling) Reason() error { return s.reason }
