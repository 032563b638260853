//go:build planted

package upgrade

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlantedBugs plants one bug at a time in machine.go and expects the
// exploration to find it. It shows that those tests can fail. Run it with
//
//	go test -tags planted -run TestPlantedBugs -v ./upgrade
func TestPlantedBugs(t *testing.T) {
	bugs := []struct{ name, was, is string }{
		{"a failed candidate takes the active generation with it",
			"	failed := m.candidate\n	m.candidate = nil\n	m.discard(failed)\n",
			"	failed := m.candidate\n	m.candidate = nil\n	m.discard(failed)\n	if failed != nil && m.active != nil {\n		m.do(Terminate{m.active.number})\n	}\n"},
		{"who waits for the end of a failed candidate hears that it was committed",
			"m.answer(g.waiter, g.waiter.verdict, g.waiter.reason)",
			"m.answer(g.waiter, Committed, g.waiter.reason)"},
		{"the flag of a running upgrade survives its failure",
			"	m.request, m.phase = nil, PhaseIdle\n",
			"	m.phase = PhaseIdle\n"},
		{"the new generation is stopped before the old one resumes",
			"	m.enter(PhaseRollback, old.number, \"resumes: \"+reason)",
			"	m.discard(m.active)\n	m.active = nil\n	m.enter(PhaseRollback, old.number, \"resumes: \"+reason)"},
		{"a stale pause is taken for the present one",
			"!m.active.is(e.Generation) || e.ID != uint64(m.active.command)",
			"!m.active.is(m.active.number)"},
		{"a second caller's request replaces the first",
			"	case m.request != nil && (e.Kind != KindRollback ||",
			"	case m.request != nil && (e.Kind == KindRollback && m.request.Kind == KindRollback ||"},
		{"a crash of the active generation is not noticed during an upgrade",
			"	case m.restarting == nil:\n		m.backOff(reason)",
			"	case m.restarting == nil && m.request == nil:\n		m.backOff(reason)"},
		{"a killed generation is forgotten before it has ended",
			"	m.killed = append(m.killed, g)\n",
			""},
		{"a drain has no deadline",
			"	g.timer = m.setTimer(m.policy.DrainTimeout + m.policy.StopGrace)\n",
			""},
		{"the gate may stay shut for ever",
			"	m.setDeadline(m.policy.GateTimeout)\n	m.do(OpenGate{m.candidate.number})",
			"	m.stopDeadline()\n	m.do(OpenGate{m.candidate.number})"},
		{"the last drain is not final",
			"m.policy.DrainTimeout, m.stopping}",
			"m.policy.DrainTimeout, false}"},
		{"a stop drains before it closes the listeners",
			"		m.do(CloseListeners{})\n		m.cancelRestart()\n",
			"		m.cancelRestart()\n		m.do(CloseListeners{})\n"},
		{"a bake that saw nothing is committed",
			"	m.bakeStep = bakeProbe\n	m.setDeadline(m.policy.GateTimeout)\n	m.do(ConfirmBake{g.number})",
			"	m.commit(\"\")"},
		{"a bake is committed by the clock",
			"		m.bakeStep = bakeAnswer\n",
			"		m.commit(\"\")\n		return\n"},
		{"a bake that cannot be confirmed goes on for ever",
			"	m.bakeStep = bakeProbe\n	m.setDeadline(m.policy.GateTimeout)\n",
			"	m.bakeStep = bakeProbe\n	m.stopDeadline()\n"},
		{"a paused generation that dies is resumed all the same",
			"	m.paused = nil\n	if m.phase == PhaseRollback {\n		m.notResumed(reason)\n		return\n	}",
			"	if m.phase == PhaseRollback {\n		m.notResumed(reason)\n		return\n	}"},
		{"the caller who waits for the drain is not told of a killed one",
			"	for _, slot := range []*[]*generation{&m.draining, &m.killed} {",
			"	for _, slot := range []*[]*generation{&m.draining} {"},
		{"a generation that is being restarted is left behind by a stop",
			"		m.cancelRestart()\n		m.stopTimer(&m.stable)",
			"		m.stopTimer(&m.stable)"},
	}
	source, err := os.ReadFile("machine.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			if strings.Count(string(source), bug.was) != 1 {
				t.Fatalf("machine.go does not hold exactly once:\n%s", bug.was)
			}
			out, err := exploreWith(t, strings.Replace(string(source), bug.was, bug.is, 1))
			if err == nil {
				t.Fatalf("not found")
			}
			if strings.Contains(out, "build failed") {
				t.Fatalf("the bug does not compile:\n%s", out)
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, " after") || strings.Contains(line, "panic:") {
					t.Logf("found: %s", strings.TrimSpace(line))
				}
			}
		})
	}
}

// exploreWith runs the exploration with another machine.go in place.
func exploreWith(t *testing.T, machine string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, "machine.go"), filepath.Join(dir, "overlay.json")
	here, err := filepath.Abs("machine.go")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{here: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{mutant: machine, overlay: string(replace)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", "TestEveryReachableState", ".").CombinedOutput()
	return string(out), err
}
