package faults

import (
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// TestFellInWithoutATimeOfDay: the phase is told by what the steps took, whatever
// the clock said meanwhile, and however late one was read.
func TestFellInWithoutATimeOfDay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	arrival := func(seconds, read float64) rig.Arrival {
		return rig.Arrival{
			Step: upgrade.Step{ElapsedSeconds: seconds, Time: now.Add(-time.Hour)},
			At:   now.Add(time.Duration((read + seconds) * float64(time.Second))),
		}
	}
	steps := []rig.Arrival{arrival(0, 0.3), arrival(0.1, 0.002), arrival(0.2, 0.05), arrival(0.5, 0.9)}
	if began := beganBy(steps, now.Add(time.Second)); began.Sub(now).Round(time.Millisecond) != 2*time.Millisecond {
		t.Errorf("began %v after now, want 2ms", began.Sub(now))
	}
	if began := beganBy(steps[:1], now); !began.IsZero() {
		t.Errorf("began %v by no step", began)
	}
}
