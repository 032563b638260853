package health

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultTimeout bounds a single probe where none was given.
const DefaultTimeout = 2 * time.Second

// A Probe asks once whether all is well.
type Probe interface {
	// Check returns nil if all is well, or else the reason in words. It
	// returns soon after ctx is done. It may be called concurrently.
	Check(ctx context.Context) error
}

// All is a Probe that asks each of its probes in turn and returns the first
// reason. With no probes, all is well.
type All []Probe

// Check asks the probes in their order.
func (a All) Check(ctx context.Context) error {
	for _, p := range a {
		if err := p.Check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bounded returns ctx with the probe's own timeout, by default DefaultTimeout.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, time.Duration) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, cancel, timeout
}

// noAnswer words the error of a probe that was cut short: by its own timeout,
// or because the caller went away.
func noAnswer(err error, timeout time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", timeout, err)
	}
	return err
}
