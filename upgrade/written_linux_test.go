package upgrade_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// TestNobodyHearsOfWhatIsNotWrittenDown: a caller asks the next supervisor for
// the request whose number it was told, which has to know of it. So the first
// step waits until that is written down.
func TestNobodyHearsOfWhatIsNotWrittenDown(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	var early atomic.Bool
	written := false
	asked := func(c upgrade.CallerState) bool { return c.Request == 1 && c.Phase == upgrade.PhaseAdmission }
	r := launchWith(t, upgrade.Config{Policy: quick(), Persist: func(s upgrade.State) {
		if written || !slices.ContainsFunc(s.Callers, asked) {
			return
		}
		written = true
		select { // a disk that is slow
		case <-heard:
			early.Store(true)
		case <-time.After(50 * time.Millisecond):
		}
	}})
	r.await("an active generation", func(s upgrade.Status) bool { return active(s) != nil })
	first := true
	report, err := r.sup.Upgrade(t.Context(), upgrade.Request{}, func(upgrade.Step) {
		if first {
			close(heard)
		}
		first = false
	})
	if err != nil {
		t.Fatal(err)
	}
	r.wants(report, upgrade.Committed)
	if early.Load() {
		t.Error("the caller heard of the request before it was written down")
	}
	r.stop()
}
