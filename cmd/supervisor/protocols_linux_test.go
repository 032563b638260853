package main

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// spoken are the protocols besides the native one, and a program for each.
func spoken() map[string][]string {
	return map[string][]string{
		"listen-fds":     {"plain"},
		"einhorn":        {"plain"},
		"server-starter": {"plain"},
		"nginx":          {"plain"},
		"none":           {"plain"},
		"tableflip":      nil, // it is built
	}
}

// speaks begins a lineage of a program that is spoken to by a protocol.
func speaks(t *testing.T, protocol string, flags ...string) (l *lineage, program []string, target string) {
	t.Helper()
	return speaksAs(t, protocol, spoken()[protocol], flags...)
}

// speaksAs is speaks with another program.
func speaksAs(t *testing.T, protocol string, program []string, flags ...string) (*lineage, []string, string) {
	t.Helper()
	address := freeAddress(t)
	if protocol == "tableflip" {
		program = []string{filepath.Join(buildExamples(t), "tableflip"), "-listen", address}
	}
	flags = append([]string{"--listen", "http=tcp://" + address, "--protocol", protocol, "--bake", "200ms", "--settle", "50ms", "--queue", "*:off"}, flags...)
	if strings.Contains("server-starter nginx none", protocol) {
		flags = append(flags, "--ready", "200ms")
	}
	l := found(t, program, flags...)
	l.shims = true
	return l, program, "http://" + address
}

// freeAddress is one that nobody listens at: these programs open what they are
// told to.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newConnections is traffic of one request on each connection.
func (l *lineage) newConnections(target string) *load.Run {
	l.Helper()
	run, err := load.Start(context.WithoutCancel(l.Context()), load.Config{Target: target, Duration: 2 * time.Minute, Timeout: 15 * time.Second, Traffic: []load.Traffic{
		{Name: "new", Pattern: load.NewConnection, Rate: 150, Method: http.MethodPost, Path: "/echo", PayloadBytes: 64, Echo: true},
	}})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { run.Stop() })
	return run
}

// TestOtherProtocols upgrades programs that know nothing of this project, under
// load: ten times well, and over a kill and a replacement of the supervisor.
func TestOtherProtocols(t *testing.T) {
	t.Parallel()
	for protocol := range spoken() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			l, program, target := speaks(t, protocol)
			l.serves()
			run := l.newConnections(target)
			l.answered(run, 20)
			for range 5 {
				l.upgradesOn(program...)
			}
			l.succeed()
			st := l.serves()
			if got := st.Generations[0].Generation; got != 6 {
				t.Errorf("generation %d is active, want 6", got)
			}
			if _, err := l.client.Reexec(t.Context(), ""); err != nil {
				t.Error(err)
			}
			for range 5 {
				l.upgradesOn(program...)
			}
			l.noneFailed(run)
			l.stop()
		})
	}
}

// TestBadCandidatesOfOtherProtocols: what is wrong before the cut-over costs
// nothing, and after it the old release is started again.
func TestBadCandidatesOfOtherProtocols(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, protocol string
		flags, bad     []string
		verdict        upgrade.Verdict
		reason         string
		active         int
	}{
		{"exits", "listen-fds", nil, []string{"-exit", "3"}, upgrade.Aborted, "exited with status 3", 1},
		{"is never ready", "listen-fds", []string{"--ready-timeout", "1s"}, []string{"-hang"}, upgrade.Aborted, "did not say ready", 1},
		{"crashes in the bake", "listen-fds", []string{"--bake", "5s"}, []string{"-crash-after", "1s"}, upgrade.RolledBack, "its release runs again as generation 3", 3},
		{"is killed in the bake", "listen-fds", []string{"--bake", "5s"}, []string{"-kill-after", "1s"}, upgrade.RolledBack, "was killed by signal 9", 3},
		{"says that it stops", "listen-fds", []string{"--bake", "5s"}, []string{"-stopping-after", "1s"}, upgrade.RolledBack, "says that it is stopping", 3},
		{"exits before it is taken for ready", "none", nil, []string{"-exit", "0"}, upgrade.Aborted, "exited with status 0", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, program, target := speaks(t, c.protocol, c.flags...)
			l.serves()
			run := l.newConnections(target)
			l.answered(run, 20)
			l.upgrade(append(program, c.bad...), true).verdict(c.verdict, c.reason)
			status := l.serves()
			if got := status.Generations[0].Generation; got != c.active {
				t.Errorf("generation %d is active, want %d", got, c.active)
			}
			l.answered(run, 20)
			report := run.Stop()
			lost := report.Failed
			if c.bad[0] == "-crash-after" || c.bad[0] == "-kill-after" { // it takes with it what it had accepted, and nobody else's
				lost -= report.FailedByKind[load.Reset] + report.FailedByKind[load.EOF]
			}
			if lost > 0 {
				t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.FailedByKind)
			}
			l.stop()
		})
	}
}
