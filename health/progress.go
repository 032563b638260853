package health

import "time"

// A ProgressState is what is known of a candidate's work.
type ProgressState int

const (
	// Shown: it finishes what it accepts, or that cannot be judged.
	Shown ProgressState = iota
	// Open: it is too early to tell.
	Open
	// Stuck: it accepts connections and finishes none.
	Stuck
)

// Progress decides whether a candidate finishes what it accepts.
type Progress struct{}

// NewProgress returns a Progress that waits for at least three intervals.
func NewProgress(interval time.Duration) *Progress { return &Progress{} }

// Typical takes what the active generation reports, summed over listeners.
func (p *Progress) Typical(active Count) {}

// Observe takes what the candidate reports, summed over listeners.
func (p *Progress) Observe(at time.Duration, candidate Count) (f Finding, state ProgressState) {
	return Finding{}, Shown
}
