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

// TestPlantedBugs plants one bug at a time in the machine's files and expects
// the exploration to find it. It shows that those tests can fail. Run it with
//
//	go test -tags planted -run TestPlantedBugs -v ./upgrade
func TestPlantedBugs(t *testing.T) {
	for file, bugs := range map[string][]bug{"machine.go": bugsOfTheMachine(), "recovery.go": bugsOfTheRecovery(), "restore.go": bugsOfTheRestoring()} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bugs {
			t.Run(b.name, func(t *testing.T) { plant(t, file, string(source), b) })
		}
	}
}

// bug replaces a text that is in its file exactly once.
type bug struct{ name, was, is string }

func plant(t *testing.T, file, source string, b bug) {
	t.Helper()
	if strings.Count(source, b.was) != 1 {
		t.Fatalf("%s does not hold exactly once:\n%s", file, b.was)
	}
	out, err := exploreWith(t, file, strings.Replace(source, b.was, b.is, 1))
	if err == nil {
		t.Fatalf("not found")
	}
	if strings.Contains(out, "build failed") {
		t.Fatalf("the bug does not compile:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, " after") || strings.Contains(line, "panic:") {
			t.Logf("found: %.300s", strings.TrimSpace(line))
		}
	}
}

func bugsOfTheMachine() []bug {
	return []bug{
		{"a generation that can pause is told to drain at the cut-over",
			"	case m.active.canPause:\n		m.enter(PhaseCutOver",
			"	case m.active.canPause && m.policy.Overlap == 0:\n		m.enter(PhaseCutOver"},
		{"what was retired is forgotten, and nothing is started in its place",
			"		default:\n			m.replaceRetired(reason)\n",
			"		default:\n			m.end(RolledBack, reason)\n"},
		{"a failed candidate takes the active generation with it",
			"	failed := m.candidate\n	m.candidate = nil\n	m.discard(failed)\n",
			"	failed := m.candidate\n	m.candidate = nil\n	m.discard(failed)\n	if failed != nil && m.active != nil {\n		m.do(Terminate{m.active.number})\n	}\n"},
		{"who waits for the end of a failed candidate hears that it was committed",
			"m.answer(r, r.verdict, r.reason)",
			"m.answer(r, Committed, r.reason)"},
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
		{"a generation that says ready too late is not heard",
			"			m.readyTooLate(g)\n",
			""},
		{"a stop waits for a generation that says ready too late",
			"	if m.stopping {\n		return\n	}\n	g.terminated = false\n",
			"	g.terminated = false\n"},
		{"the last drain is not final",
			"Deadline: m.policy.DrainTimeout, Final: m.stopping}",
			"Deadline: m.policy.DrainTimeout}"},
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
		{"a stop leaves a dry run without an answer",
			"		m.endDryRun(Refused, \"the supervisor was told to stop\")\n",
			""},
		{"a generation that is being restarted is left behind by a stop",
			"		m.cancelRestart()\n		m.stopTimer(&m.stable)",
			"		m.stopTimer(&m.stable)"},
	}
}

func bugsOfTheRecovery() []bug {
	return []bug{
		{"the timers of a dead supervisor are waited for",
			"	m.forgetTimers()\n",
			""},
		{"who was killed is not killed again",
			"	for _, g := range m.killed {\n		m.do(Kill{g.number})\n	}\n",
			""},
		{"a drain after a crash has no deadline",
			"	g.timer = m.setTimer(limit)\n",
			"	_ = limit\n"},
		{"a generation that comes back ready too late is ended quickly",
			"		if becameReady {\n			m.readyTooLate(g)\n		}\n",
			"		_ = becameReady\n"},
		{"a draining generation is not told that nobody else accepts any more",
			"Deadline: limit, Final: m.stopping, Again: true}",
			"Deadline: limit, Again: true}"},
		{"the next supervisor keeps its listeners when it goes on stopping",
			"		m.do(CloseListeners{}) // as the new supervisor has got them anew\n",
			""},
		{"an admission in flight is never answered",
			"		m.end(Refused, i.why)\n",
			"		return\n"},
		{"a candidate is left beside the active generation",
			"	case i.goesOn(i.old):\n		m.abort(i.why)\n",
			"	case i.goesOn(i.old):\n		m.end(Aborted, i.why)\n"},
		{"a candidate that accepts is ended although nobody else does",
			"	case i.goesOn(i.young) && i.young.ready:\n		m.promoteNow(i.why)\n",
			""},
		{"the new generation is committed while the old one could go on",
			"	case i.goesOn(i.old) && (i.paused || m.phase == PhaseCutOver):",
			"	case i.goesOn(i.old) && m.phase == PhaseCutOver:"},
		{"a generation that drains goes on as the active one",
			"		going[g] = !survivors[i].Draining\n",
			"		going[g] = true\n"},
		{"the release is started again only after a back-off",
			"ended while there was no supervisor\"}\n		m.launchRestart()\n",
			"ended while there was no supervisor\", timer: m.setTimer(m.policy.BackoffMin)}\n"},
		{"a rollback is forgotten when its supervisor is killed",
			"		m.rollBackAgain(i)\n",
			"		m.phase = PhaseIdle\n"},
		{"the restart of a generation is left to itself",
			"		m.discard(r.generation)\n		m.restarting =",
			"		m.restarting ="},
		{"a draining generation that rejoins late is taken for the active one",
			"	case role == RoleActive && e.Draining:",
			"	case role == RoleActive && e.Draining && m.paused != nil:"},
	}
}

func bugsOfTheRestoring() []bug {
	return []bug{
		{"who waits for a drain is lost with the supervisor",
			"cutUnknown: s.CutUnknown, waiter: s.Waiter.restore(),",
			"cutUnknown: s.CutUnknown,"},
		{"a number is given twice",
			"	m.generations, m.serial,",
			"	m.generations, m.serial = s.Generations-1, s.Serial\n	_, _,"},
		{"the release before is forgotten",
			"	m.release, m.previous = s.Release.copy(), s.Previous.copy()",
			"	m.release = s.Release.copy()"},
	}
}

// exploreWith runs the exploration with another text in place of a file.
func exploreWith(t *testing.T, file, text string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, file), filepath.Join(dir, "overlay.json")
	here, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{here: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{mutant: text, overlay: string(replace)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", "TestEveryReachableState", ".").CombinedOutput()
	return string(out), err
}
