package load

import (
	"context"
	"fmt"
)

// A Run is traffic being sent. Its methods may be called concurrently.
type Run struct{ done chan struct{} }

// Start begins a run. It ends by itself after Config.Duration and
// Config.Requests; Stop ends it before, and so does the end of ctx, which also
// cuts off the requests in flight. Every run must be stopped.
func Start(ctx context.Context, config Config) (*Run, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start load: %w", err)
	}
	return &Run{done: make(chan struct{})}, nil
}

// Done is closed when the run has ended by itself or by its context.
func (r *Run) Done() <-chan struct{} { return r.done }

// Mark notes an event, for the report.
func (r *Run) Mark(e Event) {}

// Snapshot returns the state of the run at this moment.
func (r *Run) Snapshot() Progress { return Progress{} }

// Stop sends no more requests, waits for those in flight (for Config.Timeout
// at most) and returns the report. Further calls return the same report.
func (r *Run) Stop() Report { return Report{} }
