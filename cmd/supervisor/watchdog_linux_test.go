package main

import (
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

// TestWatchdog: a program that does not feed its watchdog any more is aborted, and
// what that means depends on what it was.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	const silent = "did not feed its watchdog for 1s"
	for _, c := range []struct {
		name    string
		settle  string // short: it is in its bake by then; long: it is not
		program []string
		verdict upgrade.Verdict
		reason  string
	}{
		{"fed", "20ms", []string{"plain", "-feeds", "1h"}, upgrade.Committed, ""},
		{"not fed", "20ms", []string{"plain"}, upgrade.RolledBack, silent},
		{"not fed any more", "20ms", []string{"plain", "-feeds", "200ms"}, upgrade.RolledBack, silent},
		{"says so itself", "500ms", []string{"plain", "-feeds", "1h", "-asks", "WATCHDOG=trigger"}, upgrade.Aborted, "says by its watchdog that it failed"},
		{"wants none", "20ms", []string{"plain", "-asks", "WATCHDOG_USEC=0"}, upgrade.Committed, ""},
		{"wants another", "500ms", []string{"plain", "-feeds", "1h", "-asks", "WATCHDOG_USEC=10000"}, upgrade.Aborted, "did not feed its watchdog for 10ms"},
		{"does not hear SIGABRT", "20ms", []string{"plain", "-stubborn"}, upgrade.RolledBack, silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, _, _ := speaksAs(t, "listen-fds", []string{"plain", "-feeds", "1h"}, "--watchdog", "1s", "--settle", c.settle, "--bake", "2s")
			l.serves()
			l.upgrade(c.program, true).verdict(c.verdict, c.reason)
			l.serves()
			l.stop()
		})
	}
}

// TestWatchdogOfTheActiveGeneration: it is restarted, and why is said.
func TestWatchdogOfTheActiveGeneration(t *testing.T) {
	t.Parallel()
	l, _, _ := speaksAs(t, "listen-fds", []string{"sleep", "1000"}, "--ready", "100ms", "--watchdog", "200ms", "--backoff-min", "30s", "--backoff-max", "30s")
	status := l.await("a restart", func(s upgrade.Status) bool { return s.Restart != nil })
	if got := status.Restart.Reason; !strings.Contains(got, "did not feed its watchdog for 200ms") || !strings.Contains(got, "signal 6") {
		t.Errorf("the reason is %q", got)
	}
	l.stop()
}
