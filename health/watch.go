package health

import (
	"context"
	"fmt"
	"time"
)

// DefaultInterval is the pause between two probes where none was given.
const DefaultInterval = 100 * time.Millisecond

// Poll asks p until all is well, with a pause of interval (default
// DefaultInterval) after each no, and returns nil. When ctx is done first, the
// error wraps ctx's cause and tells the last reason.
func Poll(ctx context.Context, p Probe, interval time.Duration) error {
	var last error
	for {
		err := p.Check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if !pause(ctx, interval) {
			return gaveUp(ctx, last)
		}
	}
}

// Watch asks p at every interval (default DefaultInterval) and blocks while
// all is well. It returns nil when ctx is done, and the reason when the answer
// has been no failures times in a row (at least once).
func Watch(ctx context.Context, p Probe, interval time.Duration, failures int) error {
	streak := Streak{Limit: failures}
	for {
		err := p.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := streak.Observe(err); err != nil {
			return err
		}
		if !pause(ctx, interval) {
			return nil
		}
	}
}

// Steady asks p at every interval (default DefaultInterval), until ctx is done,
// and tells after each answer whether it has been yes for the whole window up to
// now, and the last reason if there was one.
func Steady(ctx context.Context, p Probe, interval, window time.Duration, tell func(settled bool, reason error)) {
	settling := Settling{Window: window}
	if interval <= 0 {
		interval = DefaultInterval
	}
	for {
		err := p.Check(ctx)
		if ctx.Err() != nil {
			return
		}
		wait, settled := settling.Observe(time.Now(), err)
		tell(settled, settling.Reason())
		if settled {
			wait = interval
		}
		if !pause(ctx, min(interval, wait)) {
			return
		}
	}
}

// Settle asks p at every interval (default DefaultInterval) until the answer
// has been yes for the whole window, and returns nil. When ctx is done first,
// the error wraps ctx's cause and tells the last reason.
func Settle(ctx context.Context, p Probe, interval, window time.Duration) error {
	settling := Settling{Window: window}
	if interval <= 0 {
		interval = DefaultInterval
	}
	for {
		err := p.Check(ctx)
		if ctx.Err() != nil {
			return gaveUp(ctx, settling.Reason())
		}
		wait, settled := settling.Observe(time.Now(), err)
		if settled {
			return nil
		}
		if !pause(ctx, min(interval, wait)) {
			return gaveUp(ctx, settling.Reason())
		}
	}
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		d = DefaultInterval
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// gaveUp tells that ctx ended the waiting, and what was seen last.
func gaveUp(ctx context.Context, last error) error {
	if last == nil {
		return fmt.Errorf("gave up: %w", context.Cause(ctx))
	}
	return fmt.Errorf("gave up (%w); last reason: %w", context.Cause(ctx), last)
}
