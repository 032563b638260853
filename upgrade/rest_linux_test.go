package upgrade_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// TestExitAtRestIsLeftToWhoeverGoesOn: a generation that ends while the
// supervisor hands over stays a zombie, so that the next supervisor learns its
// exit status; if nobody takes over, this one does.
func TestExitAtRestIsLeftToWhoeverGoesOn(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	failed := errors.New("nobody takes over")
	err := r.sup.HandOver(t.Context(), func(s upgrade.State) error {
		pid := s.Generations[0].PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		ended := false
		for range 40 { // as long as it would take to reap it several times
			<-time.After(5 * time.Millisecond)
			now := stateOf(pid)
			if ended = ended || now == "Z"; ended && now != "Z" {
				t.Errorf("its state is %q, it is not a zombie any more", now)
				break
			}
		}
		if !ended {
			t.Error("it does not end")
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	r.await("the next generation", func(s upgrade.Status) bool {
		return len(s.Generations) == 1 && s.Generations[0].Generation == 2 && s.Generations[0].Role == upgrade.RoleActive
	})
	if want := "was killed by signal 9"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log does not say %q", want)
	}
	r.stop()
}

// stateOf is the letter of a process's state (proc_pid_stat(5)); "" if it is
// gone.
func stateOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(text, []byte(") "))
	return string(rest[:min(1, len(rest))])
}

// TestNoneIsHandedOverThatIsGone: whatever the moment at which a generation
// ends, the state has either a process that can still be reaped, or knows of its
// end.
func TestNoneIsHandedOverThatIsGone(t *testing.T) {
	t.Parallel()
	p := quick()
	p.BackoffMax = p.BackoffMin
	r := start(t, p)
	seen := errors.New("seen")
	for range 10 {
		pid := active(r.await("an active generation", func(s upgrade.Status) bool { return active(s) != nil })).PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for known := true; known; {
			known = false
			err := r.sup.HandOver(t.Context(), func(s upgrade.State) error {
				for _, g := range s.Generations {
					if known = known || g.PID == pid; stateOf(g.PID) == "" {
						t.Errorf("generation %d, pid %d, is handed over and gone", g.Generation, g.PID)
					}
				}
				return seen
			})
			if !errors.Is(err, seen) {
				break // a generation is being started: the end is known
			}
		}
	}
	r.stop()
}

// TestTwoHandoversAtOnce: the second is refused, or finds everything as the first
// did: with its channels.
func TestTwoHandoversAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	seen := errors.New("seen")
	results := make(chan error)
	const both, times = 4, 20
	for range both {
		go func() { // joined below
			for range times {
				results <- r.sup.HandOver(t.Context(), func(s upgrade.State) error {
					if s.Generations[0].Channel == 0 {
						t.Error("handed over without its channel")
					}
					return seen
				})
			}
		}()
	}
	for range both * times {
		err := <-results
		var refused *upgrade.RefusedError
		if !errors.Is(err, seen) && !errors.As(err, &refused) {
			t.Errorf("the error is %v", err)
		}
	}
	r.stop()
}
