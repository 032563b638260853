package main

import (
	"slices"
	"testing"

	"example.com/supervisor/upgrade"
)

// TestKilledSupervisorLosesNoConnection kills the supervisor with SIGKILL in each
// phase of an upgrade, under load, and starts it again with the same arguments,
// as a shell loop does. Its generations serve on, the next supervisor takes them
// over, each in its role, and who waits for the verdict is told one.
func TestKilledSupervisorLosesNoConnection(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	for _, c := range []struct {
		name    string
		flags   []string // of supervisor run
		first   []string // of the first generation
		upgrade []string // of the candidate; nil: there is no upgrade
		seen    func(upgrade.Status) bool
		verdict upgrade.Verdict
		reason  string
		active  int // the generation that is, in the end
	}{
		{"idle", nil, nil, nil, inPhase(upgrade.PhaseIdle), "", "", 1},
		{"start", nil, nil, []string{"-hang-before-ready"}, inPhase(upgrade.PhaseStart),
			upgrade.Aborted, "the supervisor was killed during the start", 1},
		{"ready", []string{"--probe", "/"}, nil, []string{"-unhealthy"}, inPhase(upgrade.PhaseReady),
			upgrade.Aborted, "the supervisor was killed during the probe", 1},
		{"overlap", []string{"--overlap", "1500ms"}, nil, []string{}, inPhase(upgrade.PhaseOverlap),
			upgrade.Aborted, "the supervisor was killed during the overlap", 1},
		{"gate", []string{"--settle", "1500ms"}, nil, []string{}, inPhase(upgrade.PhaseGate),
			upgrade.Aborted, "the supervisor was killed during the gate", 1},
		{"cut-over", []string{"--pause-timeout", "5s"}, []string{"-ignore-pause"}, []string{}, inPhase(upgrade.PhaseCutOver),
			upgrade.Aborted, "the supervisor was killed during the cut-over", 1},
		{"bake", []string{"--bake", "1500ms"}, nil, []string{}, inPhase(upgrade.PhaseBake),
			upgrade.RolledBack, "the supervisor was killed during the bake", 1},
		{"rollback", []string{"--bake", "5s", "--pause-timeout", "5s", "--probe", "/", "--probe-failures", "1"}, []string{"-ignore-resume"}, []string{"-unhealthy-after", "600ms"},
			inPhase(upgrade.PhaseRollback), upgrade.RolledBack, "not well, as asked", 1},
		{"drain", nil, nil, []string{}, func(s upgrade.Status) bool {
			return len(s.Generations) == 2 && s.Generations[0].Role == upgrade.RoleDraining
		}, upgrade.Committed, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			flags := append([]string{"--bake", "300ms", "--settle", "50ms"}, c.flags...)
			l := found(t, append([]string{program}, c.first...), flags...)
			run := l.traffic("http://" + l.serves().Listeners[0].Address)
			l.answered(run, 20)
			var asked *pendingUpgrade
			if c.upgrade != nil {
				asked = l.upgrade(append([]string{program}, c.upgrade...), true)
			}
			l.await(c.name, c.seen)
			l.kill()
			l.answered(run, 30) // without a supervisor
			l.start()
			if asked != nil {
				asked.verdict(c.verdict, c.reason)
			}
			status := l.serves()
			if got := status.Generations[0].Generation; got != c.active {
				t.Errorf("generation %d is active, want %d", got, c.active)
			}
			if asked != nil && (len(status.Reports) != 1 || status.Reports[0].Verdict != c.verdict || status.Reports[0].Request != asked.report.Request) {
				t.Errorf("the status has the reports %+v", status.Reports)
			}
			l.answered(run, 30)
			l.upgradesOn(program)
			l.noneFailed(run)
			l.stop()
		})
	}
}

func inPhase(p upgrade.Phase) func(upgrade.Status) bool {
	return func(s upgrade.Status) bool {
		unborn := func(g upgrade.GenerationStatus) bool { return g.PID == 0 }
		return s.Phase == p && !slices.ContainsFunc(s.Generations, unborn)
	}
}
