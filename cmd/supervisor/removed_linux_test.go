package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

// TestRemovedFilesComeBack: somebody tidies up in the run directory. Who waits for a
// verdict is told it, the supervisor can be asked again, and a next one knows what
// this one knew.
func TestRemovedFilesComeBack(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "1s", "--settle", "20ms")
	run := l.traffic("http://" + l.serves().Listeners[0].Address)
	waiting := l.upgrade([]string{program, "-version", "2"}, true)
	l.await("the bake", inPhase(upgrade.PhaseBake))
	l.loses("control.sock")
	waiting.verdict(upgrade.Committed, "")
	l.serves()
	if text := l.logged(); strings.Count(text, "somebody removed the control socket") != 1 {
		t.Errorf("the log does not say once what was removed:\n%s", text)
	}
	l.upgradesOn(program, "-version", "3")
	l.loses("state.json")
	l.comesBack("state.json")
	l.succeed()
	if got := l.serves().Generations[0].Generation; got != 3 {
		t.Errorf("the next supervisor has generation %d, want 3", got)
	}
	l.noneFailed(run)
	l.stop()
}

// loses removes a file of the run directory.
func (l *lineage) loses(name string) {
	l.Helper()
	if err := os.Remove(filepath.Join(l.runDir(), name)); err != nil {
		l.Fatal(err)
	}
}

// comesBack waits until it is there again.
func (l *lineage) comesBack(name string) {
	l.Helper()
	l.poll(name, func() bool {
		_, err := os.Lstat(filepath.Join(l.runDir(), name))
		return !errors.Is(err, fs.ErrNotExist)
	}, func() any { return nil })
}
