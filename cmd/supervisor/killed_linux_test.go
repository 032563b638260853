package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// TestKilledSupervisorLosesNoConnection kills the supervisor with SIGKILL in
// each phase of an upgrade, under load. The generations serve on.
func TestKilledSupervisorLosesNoConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		flags   []string // of supervisor run
		program []string // of the upgrade; nil: none
		seen    func(upgrade.Status) bool
	}{
		{"idle", nil, nil, inPhase(upgrade.PhaseIdle)},
		{"start", nil, []string{"web", "-hang"}, inPhase(upgrade.PhaseStart)},
		{"ready", []string{"--probe", "/"}, []string{"web", "-sick", "/dev/null"}, inPhase(upgrade.PhaseReady)},
		{"overlap", []string{"--overlap", "1m"}, []string{"web"}, inPhase(upgrade.PhaseOverlap)},
		{"gate", []string{"--settle", "5s"}, []string{"web"}, inPhase(upgrade.PhaseGate)},
		{"bake", []string{"--bake", "1m"}, []string{"web"}, inPhase(upgrade.PhaseBake)},
		{"drain", []string{"--bake", "0s"}, []string{"web"}, func(s upgrade.Status) bool {
			return len(s.Generations) == 2 && s.Generations[0].Role == upgrade.RoleDraining
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := runKillable(t, c.flags...)
			client := control.NewClient(filepath.Join(s.dir, "control.sock"))
			status := awaitStatus(t, client, func(st upgrade.Status) bool {
				return len(st.Generations) == 1 && st.Generations[0].Role == upgrade.RoleActive
			})
			run, err := load.Start(t.Context(), load.Config{Target: "http://" + status.Listeners[0].Address, Duration: time.Minute, Traffic: []load.Traffic{
				{Pattern: load.NewConnection, Rate: 100},
				{Pattern: load.KeepAlive, Clients: 4, Rate: 25, Method: http.MethodPost, PayloadBytes: 10},
				{Pattern: load.InFlight, Clients: 2, Path: "/slow?for=700ms"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if c.program != nil {
				asked := make(chan struct{})
				go func() { // ends with the supervisor
					defer close(asked)
					_, _ = client.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{Program: &upgrade.Program{Command: c.program}}, func([]byte, control.Line) {})
				}()
				t.Cleanup(func() { <-asked })
			}
			status = awaitStatus(t, client, c.seen)
			s.kill(t)
			<-time.After(time.Second) // of load without a supervisor
			report := run.Stop()
			if report.OK == 0 || report.Failed > 0 {
				t.Errorf("%d of %d requests failed: %v\n%+v", report.Failed, report.Requests, report.FailedByKind, report.Traffic)
			}
			t.Logf("%d requests, %d failed", report.Requests, report.Failed)
			endOrphans(t, status)
		})
	}
}

func inPhase(p upgrade.Phase) func(upgrade.Status) bool {
	return func(s upgrade.Status) bool {
		unborn := func(g upgrade.GenerationStatus) bool { return g.PID == 0 } // nobody could end it afterwards
		return s.Phase == p && !slices.ContainsFunc(s.Generations, unborn)
	}
}

// killable is a supervisor in a process of its own.
type killable struct {
	cmd *exec.Cmd
	dir string
}

func runKillable(t *testing.T, flags ...string) *killable {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	k := &killable{dir: filepath.Join(dir, "run")}
	args := append([]string{"run", "--name", "web", "--run-dir", k.dir, "--listen", "http=tcp://127.0.0.1:0"}, flags...)
	k.cmd = exec.Command("supervisor", append(args, "--", "web")...)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	k.cmd.Stdout, k.cmd.Stderr = out, out
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if k.cmd.ProcessState == nil {
			k.kill(t)
		}
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s", text)
		}
	})
	return k
}

func (k *killable) kill(t *testing.T) {
	t.Helper()
	if err := k.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = k.cmd.Wait()
}

// awaitStatus polls the status until ok says so.
func awaitStatus(t *testing.T, client *control.Client, ok func(upgrade.Status) bool) upgrade.Status {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		status, err := client.Status(t.Context())
		if err == nil && ok(status) {
			return status
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %+v, %v", status, err)
		}
	}
}

// endOrphans ends the generations that outlived their supervisor.
func endOrphans(t *testing.T, status upgrade.Status) {
	t.Helper()
	for _, g := range status.Generations {
		handle, err := os.FindProcess(g.PID) // by pidfd: it is that process or none
		if err != nil {
			continue
		}
		_ = handle.Signal(syscall.SIGTERM)
		late := time.After(patience)
		tick := time.NewTicker(5 * time.Millisecond)
		for handle.Signal(syscall.Signal(0)) == nil && !zombie(g.PID) {
			select {
			case <-tick.C:
			case <-late:
				_ = handle.Kill()
				t.Errorf("generation %d did not end on SIGTERM", g.Generation)
			}
		}
		tick.Stop()
		_ = handle.Release()
	}
}

// zombie reports whether the process has ended and waits for init to reap it.
func zombie(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(text, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}
