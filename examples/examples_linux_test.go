// Package examples holds the test that all examples have in common: each runs
// alone, and under a supervisor that upgrades it under load.
package examples

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// alone runs a program without a supervisor, on a Unix socket, while do uses
// it; SIGTERM then must end it with status 0.
func alone(t *testing.T, program, listener string, do func(path string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ex") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	cmd := exec.Command(program, "-listen", listener+"=unix://"+path)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close()
			tick.Stop()
			break
		}
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
	}
	do(path)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, &output)
	}
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

func TestHTTP(t *testing.T) {
	t.Parallel()
	program := build(t, "http")
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		alone(t, program, "http", func(path string) {
			client := &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", path)
				},
			}}
			defer client.CloseIdleConnections()
			for url, want := range map[string]string{
				"/": "version dev", "/slow?ms=1": "slow", "/stream?n=3&every=1ms": "line 3",
				"/slow?ms=x": "ms must be", "/stream?n=1&every=0s": "n must be",
			} {
				response, err := client.Get("http://example" + url)
				if err != nil {
					t.Error(err)
					continue
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || !strings.Contains(string(body), want) {
					t.Errorf("GET %s: %q, %v; want %q in it", url, body, err, want)
				}
			}
		})
	})
	t.Run("upgraded", func(t *testing.T) {
		t.Parallel()
		upgraded(t, []string{program}, "http", "http",
			load.Traffic{Pattern: load.NewConnection, Rate: 200, Path: "/echo", PayloadBytes: 100, Echo: true},
			load.Traffic{Pattern: load.KeepAlive, Clients: 5, Rate: 40, Path: "/echo", PayloadBytes: 100, Echo: true},
			load.Traffic{Name: "slow", Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"},
			load.Traffic{Name: "stream", Pattern: load.InFlight, Clients: 2, Path: "/stream?n=10&every=30ms"})
	})
}

func TestEcho(t *testing.T) {
	t.Parallel()
	program := build(t, "echo")
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		alone(t, program, "echo", func(path string) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintln(conn, "hello")
			if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
				t.Errorf("got %q, %v", line, err)
			}
		})
	})
	t.Run("upgraded", func(t *testing.T) {
		t.Parallel()
		upgraded(t, []string{program}, "echo", "tcp",
			load.Traffic{Pattern: load.NewConnection, Rate: 300, Raw: true, PayloadBytes: 1000})
	})
}

func TestPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	upgraded(t, []string{python, "python/echo.py"}, "echo", "tcp",
		load.Traffic{Pattern: load.NewConnection, Rate: 100, Raw: true, PayloadBytes: 1000})
}
