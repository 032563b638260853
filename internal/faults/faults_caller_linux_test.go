package faults

import (
	"strings"
	"syscall"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// callerFaults are those of who asks for an upgrade, and waits for its end.
func callerFaults() []fault {
	return []fault{
		{name: "a second caller", inject: secondCaller},
		{name: "the caller is killed", inject: killCaller, mute: true},
		{name: "the caller stops reading", inject: stopCaller, undo: goOnCaller, mute: true},
	}
}

// secondCaller asks for an upgrade while one runs: it is refused and told which one
// that is. Once that is committed it is let in. Where none runs, two ask at once.
func secondCaller(s *scene) {
	s.Helper()
	switch s.passage.step {
	case upgrade.PhaseIdle:
		first, second := s.Begin(s.asked()...), s.Begin(s.asked()...)
		if report, _ := first.Verdict(); report.Verdict == upgrade.Refused {
			first, second = second, first
		}
		s.attempt = first
		s.isRefused(second)
	case upgrade.PhaseCommit, upgrade.PhaseDrain:
		s.later = true
		if report, _ := s.Begin("upgrade").Verdict(); report.Verdict != upgrade.Committed {
			s.object("the second caller, once the first upgrade was committed: %s: %s", report.Verdict, report.Reason)
		}
	default:
		s.isRefused(s.Begin("upgrade"))
	}
}

// isRefused wants that a caller is told that another upgrade runs.
func (s *scene) isRefused(a *rig.Attempt) {
	s.Helper()
	report, status := a.Verdict()
	if report.Verdict != upgrade.Refused || status != 10 || !strings.Contains(report.Reason, "upgrade 1 is running") {
		s.object("the second caller: %s, status %d: %s", report.Verdict, status, report.Reason)
	}
}

func killCaller(s *scene) {
	s.Helper()
	if err := s.attempt.Cmd.Process.Kill(); err != nil {
		s.Fatal(err)
	}
}

func stopCaller(s *scene) {
	s.Helper()
	if err := s.attempt.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.Fatal(err)
	}
}

// goOnCaller has the caller read again: it is told the verdict.
func goOnCaller(s *scene) {
	s.Helper()
	if err := s.attempt.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.Fatal(err)
	}
	if report, status := s.attempt.Verdict(); report == nil || status != 0 {
		s.object("who reads again is told %+v, status %d", report, status)
	}
}
