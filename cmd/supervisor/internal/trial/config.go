// Package trial puts a service under load, does something to it again and again
// meanwhile, and judges what its clients saw.
//
// It guarantees what package load does: every request that was due is counted
// and none is retried in secret. What is done to the service is done while
// requests are sent: the traffic goes on until the last verdict is known.
package trial

import (
	"context"
	"io"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
)

// Config says what to send, and what to do meanwhile.
type Config struct {
	// URL names the service in what is shown.
	URL string
	// Load is the traffic. Its Duration and Requests bound the run, which takes
	// longer if an attempt has no verdict yet.
	Load load.Config
	// Every is how long after the start, and after that time again, the Actor
	// acts, or when the attempt before has its verdict. 0: it does not.
	Every time.Duration
	// Actor does something to the service. Nil if Every is 0.
	Actor Actor
	// Queue tells what the supervisor sees of the accept queues; nil for nobody.
	// The listeners that are meant are told by Wanted.
	Queue  figures.QueueWatcher
	Wanted figures.Wanted
	// Progress is told what happens while it happens; nil for nothing.
	Progress io.Writer
}

// An Actor does one thing to a service, as often as it is asked.
type Actor interface {
	// Act does it and returns when the verdict is known. doing is told what goes
	// on; it may be called by another goroutine, but not after Act has returned.
	// The end of ctx cuts it short.
	Act(ctx context.Context, doing func(string)) Attempt
}

// The verdicts of Attempt besides those of an upgrade.
const (
	// Done is what a command did that ended with status 0, Broken any other.
	Done   = "done"
	Broken = "failed"
	// Unknown is the verdict when nobody can tell it.
	Unknown = "unknown"
)

// An Attempt is one thing that was done to the service, and what came of it.
type Attempt struct {
	Number int `json:"number"`
	// What it led to or what was run, in at most 14 columns.
	What string `json:"what"`
	// OK: the verdict is as it should be.
	OK      bool   `json:"ok"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// From and To are generations; 0 where there are none.
	From int `json:"from_generation,omitempty"`
	To   int `json:"to_generation,omitempty"`
	// AtSeconds is when it began, from the start of the traffic.
	AtSeconds       float64 `json:"at_seconds"`
	DurationSeconds float64 `json:"duration_seconds"`
	// StartupSeconds is the part of it that a candidate took to become ready; 0
	// if it is not known.
	StartupSeconds float64 `json:"startup_seconds,omitempty"`
	figures.Aftermath

	began       time.Time
	interrupted bool
}
