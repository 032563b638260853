package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// A badProgram is bad in a way that no protocol keeps a program from.
type badProgram struct {
	name    string
	command []string
	verdict upgrade.Verdict
	reason  string
}

// badPrograms are those for a protocol; good is a program that speaks it.
func badPrograms(protocol string, good []string) []badProgram {
	shell := func(script string) []string { return append([]string{"/bin/sh", "-c", script, "sh"}, good...) }
	all := []badProgram{
		{"is missing", []string{"/nonexistent/program"}, upgrade.Refused, "no such file"},
		{"exits", shell("exit 3"), upgrade.Aborted, "exited with status 3"},
		{"is killed before it is ready", shell("kill -9 $$"), upgrade.Aborted, "was killed by signal 9"},
		{"leaves a grandchild", shell("setsid sleep 1000 & exit 4"), upgrade.Aborted, "exited with status 4"},
		{"crashes in the bake", append(good[:len(good):len(good)], "-crash-after", "700ms"), upgrade.RolledBack, "its release runs again as generation"},
	}
	if protocol == "tableflip" { // the good one is somebody else's and has no faults to ask for
		all[len(all)-1].command = shell(`"$@" & sleep 0.7; kill -9 $!; exit 7`)
	}
	if strings.Contains("listen-fds einhorn tableflip", protocol) { // those that have a word for being ready
		all = append(all, badProgram{"hangs and ignores its signals", shell("trap '' TERM HUP QUIT USR2; sleep 1000 & wait; sleep 1000"), upgrade.Aborted, "did not say ready"})
	}
	return all
}

// TestBadProgramsOfEachProtocol offers one bad candidate after the other to a
// service of each protocol, under load. Nothing is lost but what a candidate had
// itself accepted, nothing is left of it, and the next good one is taken.
func TestBadProgramsOfEachProtocol(t *testing.T) {
	t.Parallel()
	for protocol := range spoken() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			sick := filepath.Join(t.TempDir(), "sick")
			l, good, target := speaks(t, protocol, "--bake", "1500ms", "--ready-timeout", "5s",
				"--probe-command", "sh", "--probe-command", "-c", "--probe-command", `! grep -qsx "$SUPERVISOR_GENERATION" "$0"`, "--probe-command", sick)
			l.serves()
			run := l.newConnections(target)
			l.answered(run, 20)
			for _, bad := range badPrograms(protocol, good) {
				t.Log(bad.name)
				l.upgrade(bad.command, true).verdict(bad.verdict, bad.reason)
				l.serves()
			}
			l.turnsSick(good, sick)
			l.upgradesOn(good...)
			l.answered(run, 20)
			onlyItsOwn(t, run.Stop())
			l.stop()
		})
	}
}

// turnsSick has a candidate turn unhealthy when it is active, and the release
// before it started again.
func (l *lineage) turnsSick(program []string, sick string) {
	l.Helper()
	before := l.serves().Generations[0].Generation
	pending := l.upgrade(program, true)
	now := l.await("the bake", func(s upgrade.Status) bool { return s.Phase == upgrade.PhaseBake })
	candidate := 0
	for _, g := range now.Generations {
		if g.Role == upgrade.RoleActive {
			candidate = g.Generation
		}
	}
	if err := os.WriteFile(sick, []byte(strconv.Itoa(candidate)+"\n"), 0o600); err != nil {
		l.Fatal(err)
	}
	pending.verdict(upgrade.RolledBack, "its release runs again as generation")
	if got := l.serves().Generations[0].Generation; candidate <= before || got != candidate+1 {
		l.Errorf("generation %d is active after %d and %d, want the one that was started again", got, before, candidate)
	}
}

// onlyItsOwn expects that nothing failed but what a program took with it that
// crashed: nobody was refused, nobody waited in vain.
func onlyItsOwn(t *testing.T, r load.Report) {
	t.Helper()
	const held = 10 // more than a program of this load has open at a moment
	if lost := r.FailedByKind[load.Reset] + r.FailedByKind[load.EOF]; r.Failed > lost || lost > held {
		t.Errorf("%d of %d requests failed: %v", r.Failed, r.Requests, r.FailedByKind)
	}
	t.Logf("%d requests, %d failed: %v", r.Requests, r.Failed, r.FailedByKind)
}
