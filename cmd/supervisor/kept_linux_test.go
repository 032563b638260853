package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// TestDeletedReleaseOfAnotherProtocolIsKept: also below a shim, and over a
// supervisor that was killed.
func TestDeletedReleaseOfAnotherProtocolIsKept(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"listen-fds", "none"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			one, two := copyOf(t, "plain", filepath.Join(folder, "1")), copyOf(t, "plain", filepath.Join(folder, "2"))
			address := freeAddress(t)
			flags := []string{"--listen", "http=tcp://" + address, "--protocol", protocol, "--bake", "50ms", "--settle", "20ms", "--queue", "*:off", "--backoff-min", "1ms"}
			if protocol == "none" {
				flags = append(flags, "--ready", "100ms")
			}
			l := found(t, []string{one}, flags...)
			l.shims = true
			l.serves()
			l.upgradesOn(two)
			for _, dir := range []string{one, two} {
				if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
					t.Fatal(err)
				}
			}
			l.crashes(l.serves()) // and is started again
			l.rollsBack()
			l.succeed()
			l.crashes(l.serves())
			if status := l.serves(); status.RollbackTrouble == "" || status.Release.Path != one {
				t.Errorf("runs %s, and a rollback would be possible to %s", status.Release, status.Previous)
			}
			l.stop()
		})
	}
}

// copyOf puts a program of these tests into a directory, which is made.
func copyOf(t *testing.T, name, dir string) (path string) {
	t.Helper()
	from, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// crashes kills the active generation and waits for the next.
func (l *lineage) crashes(before upgrade.Status) {
	l.Helper()
	if err := syscall.Kill(-before.Generations[0].PID, syscall.SIGKILL); err != nil { // the program as well as its shim
		l.Fatal(err)
	}
	l.await("the next generation", func(s upgrade.Status) bool {
		return len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive && s.Generations[0].Generation > before.Generations[0].Generation
	})
}

// rollsBack expects that a rollback commits.
func (l *lineage) rollsBack() {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), patience)
	defer cancel()
	report, err := l.client.Attempt(ctx, upgrade.KindRollback, upgrade.Request{WaitDrain: true}, func([]byte, control.Line) {})
	if err != nil || report.Verdict != upgrade.Committed {
		l.Errorf("a rollback: %+v, %v", report, err)
	}
}
