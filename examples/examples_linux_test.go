// Package examples holds the test that all examples have in common: a supervisor
// upgrades each of them under load.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

func build(t *testing.T, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	return binary
}

// upgraded runs a program under a supervisor and upgrades it three times under
// the given traffic, of which nothing may fail.
func upgraded(t *testing.T, command []string, listener, scheme string, traffic ...load.Traffic) {
	t.Helper()
	spec, err := listen.ParseSpec(listener + "=tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listen.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	l, err := fdpass.Describe(socket.Name, socket.FD)
	if err != nil {
		t.Fatal(err)
	}
	sup, err := upgrade.New(upgrade.Config{
		Program:  upgrade.Program{Command: command},
		Policy:   upgrade.Policy{Overlap: 50 * time.Millisecond, Bake: 100 * time.Millisecond},
		Launcher: upgrade.NewLauncher(upgrade.LauncherConfig{Service: "example", Listeners: []fdpass.Listener{l}, BaseEnv: os.Environ()}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(t.Context()) }() // joined by the receive below
	run, err := load.Start(t.Context(), load.Config{Target: scheme + "://" + l.Address, Traffic: traffic, Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3; {
		report, err := sup.Upgrade(t.Context(), upgrade.Request{WaitDrain: true}, nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case report.Verdict == upgrade.Committed:
			i++
		case !strings.Contains(report.Reason, "first generation is not ready yet"):
			t.Fatalf("%s: %s", report.Verdict, report.Reason)
		}
	}
	report := run.Stop()
	t.Logf("%d requests, %d failed", report.Requests, report.Failed)
	if report.OK == 0 || report.Failed > 0 {
		t.Errorf("%d of %d requests failed: %+v", report.Failed, report.Requests, report.Traffic)
	}
	if err := sup.Stop(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestExamplesLoseNothingWhenUpgraded(t *testing.T) {
	t.Parallel()
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		upgraded(t, []string{build(t, "http")}, "http", "http",
			load.Traffic{Pattern: load.NewConnection, Rate: 200, Path: "/echo", PayloadBytes: 100, Echo: true},
			load.Traffic{Pattern: load.KeepAlive, Clients: 5, Rate: 40, Path: "/echo", PayloadBytes: 100, Echo: true},
			load.Traffic{Name: "slow", Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"},
			load.Traffic{Name: "stream", Pattern: load.InFlight, Clients: 2, Path: "/stream?n=10&every=30ms"})
	})
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		upgraded(t, []string{build(t, "echo")}, "echo", "tcp",
			load.Traffic{Pattern: load.NewConnection, Rate: 300, Raw: true, PayloadBytes: 1000})
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("python3 is not installed")
		}
		upgraded(t, []string{python, "python/echo.py"}, "echo", "tcp",
			load.Traffic{Pattern: load.NewConnection, Rate: 100, Raw: true, PayloadBytes: 1000})
	})
}
