package main

import (
	"path/filepath"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// TestServiceIsMovedToAnotherProtocol: a service becomes a tableflip program,
// which was not built for this, and a native one again, under load.
func TestServiceIsMovedToAnotherProtocol(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	native := []string{misbehaveIn(t)}
	flip := []string{filepath.Join(buildExamples(t), "tableflip"), "-listen", address}
	l := found(t, native, "--listen", "http=tcp://"+address, "--bake", "200ms", "--settle", "50ms", "--queue", "*:off")
	l.serves()
	run := l.newConnections("http://" + address)
	l.answered(run, 20)
	for range 2 {
		l.movesTo(upgrade.Program{Command: flip, Protocol: "tableflip", Stop: "HUP"})
		l.answered(run, 20)
		l.upgradesTo(upgrade.Program{Command: flip}) // spoken to as before
		l.movesTo(upgrade.Program{Command: native, Protocol: "native"})
		l.answered(run, 20)
		l.upgradesTo(upgrade.Program{Command: native})
	}
	l.noneFailed(run)
	l.stop()
}

// movesTo expects that an upgrade to p commits, and that a rollback goes back to
// how the program before was spoken to.
func (l *lineage) movesTo(p upgrade.Program) {
	l.Helper()
	before := l.await("an active generation", func(s upgrade.Status) bool { return s.Release != nil }).Release.Program
	l.upgradesTo(p)
	l.attempts(upgrade.KindRollback, upgrade.Request{WaitDrain: true}, before)
	l.attempts(upgrade.KindRollback, upgrade.Request{WaitDrain: true}, p)
}

func (l *lineage) upgradesTo(p upgrade.Program) {
	l.Helper()
	l.attempts(upgrade.KindUpgrade, upgrade.Request{Program: &p, WaitDrain: true}, p)
}

// attempts expects that a request is committed, and what runs then.
func (l *lineage) attempts(kind upgrade.Kind, r upgrade.Request, want upgrade.Program) {
	l.Helper()
	report, err := l.client.Attempt(l.Context(), kind, r, func([]byte, control.Line) {})
	if err != nil || report.Verdict != upgrade.Committed {
		l.Fatalf("%s to %+v: %q (%s), %v", kind, want, report.Verdict, report.Reason, err)
	}
	got := report.ToRelease.Program
	if strings.Join(got.Command, " ") != strings.Join(want.Command, " ") || want.Protocol != "" && (got.Protocol != want.Protocol || got.Stop != want.Stop) {
		l.Errorf("%+v runs, want %+v", got, want)
	}
}
