package health

import "time"

// Standing tells since when connections have waited longer than Target all the
// time.
type Standing struct {
	// Target is the age that the oldest connection may have. Default 5 ms.
	Target time.Duration
	// Gap is how long nothing need be known between two looks. Default five
	// times Target.
	Gap time.Duration
}

// Observe takes one look; at does not go back.
func (s *Standing) Observe(at time.Duration, depth uint32, head time.Duration, headKnown bool) {}

// Since returns since when the queue stands; ok is false if it does not.
func (s *Standing) Since() (at time.Duration, ok bool) { return 0, false }

// For returns for how long the queue has stood; 0 if it does not.
func (s *Standing) For(at time.Duration) time.Duration { return 0 }
