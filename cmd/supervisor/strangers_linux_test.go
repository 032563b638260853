package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
)

// heldService is a lineage whose listener the service manager holds.
func heldService(t *testing.T, program ...string) *lineage {
	t.Helper()
	l := conceive(t, program, "--listen", "http=systemd", "--queue", "*:off", "--bake", "100ms", "--settle", "20ms")
	l.held = holdSocket(t)
	l.start()
	return l
}

func (l *lineage) statePath() string { return filepath.Join(l.runDir(), "state.json") }

// TestLostGenerationIsDismissed: what a killed supervisor wrote down cannot be
// used, and the service manager holds the listener. The next one begins anew; once
// its own generation serves, the old one drains and ends.
func TestLostGenerationIsDismissed(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	for name, damage := range map[string]func(path string) error{
		"truncated": func(path string) error { return os.Truncate(path, 500) },
		"from the future": func(path string) error {
			text, err := os.ReadFile(path)
			text = bytes.Replace(text, []byte("supervisor-state 1 "), []byte("supervisor-state 99 "), 1)
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		},
		"gone": os.Remove,
		// As if an upgrade had not been written down.
		"too old": func(path string) error {
			state, err := handover.Load(path)
			if err == nil {
				state.Supervisor.Generations = nil
				err = handover.Save(path, state)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := heldService(t, program)
			l.keepsDir = name != "too old" // who made it was written down there
			first := l.serves()
			run := l.traffic("http://" + first.Listeners[0].Address)
			l.answered(run, 20)
			l.kill()
			if err := damage(l.statePath()); err != nil {
				t.Fatal(err)
			}
			l.answered(run, 20)
			l.start()
			second := l.serves() // and no other process lives
			if n := second.Generations[0].Generation; n != 2 {
				t.Errorf("generation %d is active, want 2", n)
			}
			l.answered(run, 20)
			if n := l.upgradesOn(program).Generations[0].Generation; n != 3 {
				t.Errorf("generation %d is active, want 3", n)
			}
			l.noneFailed(run)
			l.stop()
			if text := l.logged(); !strings.Contains(text, "a generation lives that nobody can take over") ||
				!strings.Contains(text, "dismissed: another supervisor serves") || !strings.Contains(text, "over the control socket\" peer_uid=") {
				t.Error("it is not in the log")
			}
		})
	}
}

// TestStrangerServesWhileNobodyElseDoes: the first generation of the next
// supervisor cannot start, so the old one is left alone.
func TestStrangerServesWhileNobodyElseDoes(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := heldService(t, program)
	pid := l.serves().Generations[0].PID
	l.kill()
	if err := os.Truncate(l.statePath(), 0); err != nil {
		t.Fatal(err)
	}
	was := l.args[len(l.args)-1]
	l.args[len(l.args)-1] = "/bin/false"
	l.start()
	l.fails("this one begins anew", "a generation lives that nobody can take over")
	if left := l.processes(); len(left) != 1 || left[0].pid != pid {
		t.Errorf("left are %+v, want process %d alone", left, pid)
	}
	l.args[len(l.args)-1] = was
	l.keepsDir = true
	l.start()
	l.serves()
	l.stop()
}

// incurious is a program that asks for no supervisor any more when its own is gone.
const incurious = `import json, os, signal, socket
c = socket.socket(fileno=int(os.environ.pop("SUPERVISOR_FD")))
c.send(json.dumps({"type": "hello", "protocol": 1, "pid": os.getpid()}).encode())
n = json.loads(c.recv(65536))["listeners"]
while n:
    data, fds, _, _ = socket.recv_fds(c, 65536, 253)
    m = json.loads(data)
    c.send(json.dumps({"type": "received", "batch": m["batch"], "count": len(fds), "cookies": [l["cookie"] for l in m["listeners"]]}).encode())
    n -= len(fds)
c.send(b'{"type":"ready"}')
while True:
    signal.pause()
`

// TestStrangersThatHearNothingEndWithTheService: by stop, by stop --now and by
// sweep --now.
func TestStrangersThatHearNothingEndWithTheService(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	program := misbehaveIn(t)
	for name, end := range map[string]func(t *testing.T, l *lineage){
		"stop":     func(_ *testing.T, l *lineage) { l.stop() },
		"stop now": func(t *testing.T, l *lineage) { stopNow(t, l) },
		"sweep": func(t *testing.T, l *lineage) {
			l.kill()
			if err := os.Truncate(l.statePath(), 3); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("supervisor", "sweep", "--now", "--run-dir", l.runDir()).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "ends generation 1 (pid ") || !strings.Contains(string(out), "generation 2 (pid ") {
				t.Errorf("%v: %s", err, out)
			}
			l.poll("the end of all", func() bool { return len(l.processes()) == 0 }, func() any { return l.processes() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := heldService(t, python, "-c", incurious)
			old := l.serves().Generations[0].PID
			l.kill()
			if err := os.Truncate(l.statePath(), 0); err != nil {
				t.Fatal(err)
			}
			l.keepsDir = true
			l.args = append(l.args[:len(l.args)-3], program)
			l.start()
			status := l.await("one active generation", func(s upgrade.Status) bool {
				return len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive && s.Generations[0].Ready != nil
			})
			if n := status.Generations[0].Generation; n != 2 {
				t.Errorf("generation %d is active, want 2", n)
			}
			if !slices.ContainsFunc(l.processes(), func(p process) bool { return p.pid == old }) {
				t.Error("the old one has ended already")
			}
			end(t, l)
		})
	}
}

// TestStrangersInControlGroupsEndWithTheService: one that hears nothing, and one
// whose mark is not to be found.
func TestStrangersInControlGroupsEndWithTheService(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	program := misbehaveIn(t)
	for name, command := range map[string][]string{
		"marked":   {python, "-c", incurious},
		"unmarked": {"env", "-u", "SUPERVISOR_SERVICE", "-u", "SUPERVISOR_MARK", python, "-c", incurious},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cgroup := delegatedCgroup(t)
			l := conceive(t, command, "--listen", "http=systemd", "--queue", "*:off")
			l.held, l.cgroup = holdSocket(t), cgroup
			l.start()
			l.serves()
			l.kill()
			if err := os.Truncate(l.statePath(), 0); err != nil {
				t.Fatal(err)
			}
			l.keepsDir = true
			l.args = append(l.args[:len(l.args)-len(command)], program)
			l.start()
			status := l.await("one active generation", func(s upgrade.Status) bool {
				return len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive && s.Generations[0].Ready != nil
			})
			if n := status.Generations[0].Generation; n != 2 {
				t.Errorf("generation %d is active, want 2", n)
			}
			l.stop()
			if left, err := filepath.Glob(filepath.Join(cgroup, "generation-*")); err != nil || len(left) > 0 {
				t.Errorf("groups are left: %v, %v", left, err)
			}
		})
	}
}

func stopNow(t *testing.T, l *lineage) {
	t.Helper()
	if err := l.client.Stop(t.Context(), true); err != nil {
		t.Errorf("cannot stop: %v", err)
	}
	l.hasEnded()
}

// TestRunDirectoryIsReserved: a listener there is refused at once.
func TestRunDirectoryIsReserved(t *testing.T) {
	t.Parallel()
	l := conceive(t, []string{misbehaveIn(t)}, "--listen", "http=unix://$DIR/run/http.sock")
	l.start()
	l.fails("the directory " + l.runDir() + " is reserved for the supervisor's own files; choose another directory")
}
