package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

// TestBadHooks: whatever a hook does costs no client anything and leaves nothing.
// A hook before the cut-over ends the upgrade, and no other hook changes a verdict.
func TestBadHooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, hook, script string
		verdict            upgrade.Verdict
		reason             string
	}{
		{"fails", "before-cut-over", "exit 1", upgrade.Aborted, "the hook before-cut-over failed: sh: exited with status 1"},
		{"hangs with a grandchild elsewhere", "after-ready", "setsid sleep 1000 & sleep 1000", upgrade.Aborted, "the hook after-ready failed: sh: did not end within 1s"},
		{"leaves a daemon", "before-start", "setsid sleep 1000 >/dev/null 2>&1 & exit 0", upgrade.Committed, ""},
		{"floods", "after-commit", "yes | head -c 1000000; exit 1", upgrade.Committed, ""},
		{"hangs after the verdict", "after-commit", "sleep 1000", upgrade.Committed, ""},
		{"fails before the start", "before-start", "kill -9 $$", upgrade.Refused, "was killed by signal 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := []string{misbehaveIn(t)}
			l := conceive(t, program, "--listen", "http=tcp://"+freeAddress(t), "--bake", "50ms", "--settle", "20ms", "--hook-timeout", "1s",
				"--hook-"+c.hook, "sh", "--hook-"+c.hook, "-c", "--hook-"+c.hook, c.script)
			l.start()
			target := "http://" + l.serves().Listeners[0].Address
			run := l.newConnections(target)
			l.answered(run, 10)
			p := l.upgrade(program, true)
			p.verdict(c.verdict, c.reason)
			if failed := c.hook == "after-commit" || c.verdict != upgrade.Committed; len(p.report.Hooks) != 1 || (p.report.Hooks[0].Error != "") != failed {
				t.Errorf("the report tells of the hooks %+v", p.report.Hooks)
			}
			l.serves() // and no other process is there
			l.answered(run, 10)
			l.noneFailed(run)
			l.stop()
		})
	}
}

// TestHookOfAKilledSupervisor: it is killed too, is not run again, and the report
// does not say that it ran.
func TestHookOfAKilledSupervisor(t *testing.T) {
	t.Parallel()
	program := []string{misbehaveIn(t)}
	file := filepath.Join(t.TempDir(), "ran")
	l := conceive(t, program, "--bake", "50ms", "--settle", "20ms",
		"--hook-after-commit", "sh", "--hook-after-commit", "-c", "--hook-after-commit", "echo ran >>"+file+"; exec sleep 1000")
	l.start()
	l.serves()
	p := l.upgrade(program, false)
	l.poll("the hook", func() bool {
		_, err := os.Stat(file)
		return err == nil
	}, func() any { return nil })
	l.succeed()
	p.verdict(upgrade.Committed, "")
	l.serves()
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "ran") != 1 || len(p.report.Hooks) != 0 {
		t.Errorf("the hook ran as %q, %v; the report tells of %+v", text, err, p.report.Hooks)
	}
	l.stop()
}
