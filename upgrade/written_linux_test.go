package upgrade_test

import (
	"bytes"
	"os"
	"path/filepath"
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
	r := launchWith(t, upgrade.Config{Policy: quick(), Persist: func(s upgrade.State) error {
		if written || !slices.ContainsFunc(s.Callers, asked) {
			return nil
		}
		written = true
		select { // a disk that is slow
		case <-heard:
			early.Store(true)
		case <-time.After(50 * time.Millisecond):
		}
		return nil
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

// TestNoProcessIsStartedThatIsNotWrittenDown: the next supervisor finds what was
// started by the token of its generation, which it has to know.
func TestNoProcessIsStartedThatIsNotWrittenDown(t *testing.T) {
	t.Parallel()
	version := "unwritten-" + t.Name()
	var early, written atomic.Bool
	r := launchWith(t, upgrade.Config{Policy: quick(), Persist: func(s upgrade.State) error {
		if len(s.Generations) == 0 || written.Swap(true) {
			return nil
		}
		<-time.After(50 * time.Millisecond) // a disk that is slow
		early.Store(runs(t, version))
		if g := s.Generations[0]; g.Generation != 1 || g.Token == "" || g.PID != 0 {
			t.Errorf("what is written down is %+v", g)
		}
		return nil
	}}, "-version", version)
	r.await("an active generation", func(s upgrade.Status) bool { return active(s) != nil })
	if early.Load() || !runs(t, version) {
		t.Error("the process was started before it was written down")
	}
	r.stop()
}

// runs reports whether there is a process with that argument.
func runs(t *testing.T, argument string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte("\x00"+argument+"\x00")) {
			return true
		}
	}
	return false
}
