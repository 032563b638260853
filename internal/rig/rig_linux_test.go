package rig

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/upgrade"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m, nil)) }

// start starts a supervisor of examples/misbehave.
func start(t *testing.T, flags ...string) *Supervisor {
	t.Helper()
	return Start(t, Config{
		Binary: Build(t, Command), Dir: Folder(t), Program: []string{Build(t, "example.com/supervisor/examples/misbehave")},
		Flags: append([]string{"--listen", "http=tcp://127.0.0.1:0", "--queue", "*:off", "--settle", "10ms"}, flags...),
	})
}

// TestFromStartToStop goes through a rig's life: an upgrade, one that is bad, a
// kill in a bake with a next supervisor, and a stop.
func TestFromStartToStop(t *testing.T) {
	t.Parallel()
	s := start(t, "--bake", "300ms")
	if r := s.Commits(); r.To != 2 {
		t.Errorf("generation %d, want 2", r.To)
	}
	if r := s.Upgrade("--", s.Program[0], "-exit-before-hello", "7"); r.Verdict != upgrade.Aborted || !strings.Contains(r.Reason, "status 7") {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
	a := s.Begin("upgrade")
	if at, ok := a.Reaches(upgrade.PhaseBake); !ok || at.Generation != 4 || at.At.Before(at.Time) {
		t.Errorf("the bake: %+v, %v", at, ok)
	}
	s.Kill()
	s.Launch()
	report, status := a.Verdict()
	if report.Verdict != upgrade.RolledBack || status != 12 {
		t.Errorf("%+v, status %d", report, status)
	}
	if n := len(s.Processes()); n < 2 {
		t.Errorf("%d processes, want the supervisor and a generation at least: %v", n, s.Left())
	}
	if text := s.Metrics(); !strings.Contains(text, "supervisor_") {
		t.Errorf("no metrics: %s", text)
	}
	s.Stop()
	if left := s.Left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAttemptIsKilled(t *testing.T) {
	t.Parallel()
	s := start(t, "--bake", "1s")
	a := s.Begin("upgrade")
	a.Reaches(upgrade.PhaseBake)
	if err := a.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if report, status := a.Verdict(); report != nil || status != -1 {
		t.Errorf("%+v, status %d", report, status)
	}
	s.Await("the commit", func(st upgrade.Status) bool { return Active(st) == 2 && st.Phase == upgrade.PhaseIdle })
	s.Stop()
}
