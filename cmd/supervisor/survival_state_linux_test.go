package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/handover"
)

// TestDamagedStateIsNotBelieved: what a killed supervisor has written down is
// damaged in every way. The next one says so and cannot take over, because the
// secrets of the generations are lost with it: these serve on, and the error says
// what to do. That done, it begins anew.
func TestDamagedStateIsNotBelieved(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	rewrite := func(change func(*handover.State)) func(string) error {
		return func(path string) error {
			state, err := handover.Load(path)
			if err != nil {
				return err
			}
			change(&state)
			return handover.Save(path, state)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(path string) error
		want   string
	}{
		{"gone", os.Remove, "it left no state"},
		{"empty", func(path string) error { return os.Truncate(path, 0) }, "the state is truncated"},
		{"truncated", func(path string) error { return os.Truncate(path, 500) }, "the state is truncated"},
		{"corrupt", func(path string) error {
			text, err := os.ReadFile(path)
			text[len(text)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		}, "the state is corrupt"},
		{"from the future", func(path string) error {
			text, err := os.ReadFile(path)
			text = bytes.Replace(text, fmt.Appendf(nil, "supervisor-state %d ", handover.Version), []byte("supervisor-state 99 "), 1)
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		}, "the state is of version 99"},
		{"of another boot", rewrite(func(s *handover.State) { s.Boot = "another" }), "before the system was booted"},
		{"of another service", rewrite(func(s *handover.State) { s.Supervisor.Service = "db" }), "it is of service db"},
		{"with a machine that cannot be", rewrite(func(s *handover.State) { s.Supervisor.Machine.Active = nil }), "cannot restore the state of the upgrades"},
		{"a symbolic link", func(path string) error {
			return errors.Join(os.Rename(path, path+".kept"), os.Symlink(path+".kept", path))
		}, "it is a symbolic link"},
		{"a FIFO", func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, "it is no regular file"},
		{"written by others", func(path string) error { return os.Chmod(path, 0o622) }, "others may write to it"},
		{"of somebody else", func(path string) error { return os.Chown(path, 65534, 65534) }, "it belongs to uid 65534"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "of somebody else" && os.Getuid() != 0 {
				t.Skip("needs root, to give a file away")
			}
			port, err := findPort()
			if err != nil {
				t.Fatal(err)
			}
			l := found(t, []string{program}, "--listen", "http=tcp://127.0.0.1:"+port, "--queue", "*:off")
			l.keepsDir = true // who made it was written down there
			pid := l.serves().Generations[0].PID
			l.kill()
			if err := c.damage(filepath.Join(l.runDir(), "state.json")); err != nil {
				t.Fatal(err)
			}
			run := l.traffic("http://127.0.0.1:" + port)
			l.answered(run, 5)
			l.start()
			l.fails("this one begins anew", c.want, "in use by a live process",
				"nobody can take over its generations, which may still serve: end them with kill -TERM (ss -ltnp")
			l.answered(run, 5)
			run.Stop() // who does what the error says may lose connections
			signalTo(t, pid, syscall.SIGTERM)
			l.poll("the end of the generation", func() bool { return len(l.processes()) == 0 }, func() any { return l.processes() })
			l.start()
			l.serves()
			run = l.traffic("http://127.0.0.1:" + port)
			l.upgradesOn(program)
			l.answered(run, 5)
			l.noneFailed(run)
			l.stop()
		})
	}
}

// fails waits until the supervisor has ended with an error, and wants its words
// in the log.
func (l *lineage) fails(words ...string) {
	l.Helper()
	timer := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	defer timer.Stop()
	_ = l.cmd.Wait()
	l.ended = true
	if status := l.cmd.ProcessState.ExitCode(); status != 1 {
		l.Errorf("it ends with status %d, want 1", status)
	}
	for _, w := range words {
		if text := l.logged(); !strings.Contains(text, w) {
			l.Errorf("%q is not in the log", w)
		}
	}
}

// TestGenerationThatStaysMute: nobody can have the address that it holds, so the
// next supervisor says who does; when it goes on, one more takes it over.
func TestGenerationThatStaysMute(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	port, err := findPort()
	if err != nil {
		t.Fatal(err)
	}
	l := found(t, []string{program}, "--listen", "http=tcp://127.0.0.1:"+port)
	pid := l.serves().Generations[0].PID
	l.kill()
	signalTo(t, pid, syscall.SIGSTOP)
	defer signalTo(t, pid, syscall.SIGCONT)
	l.start()
	l.fails("in use by a live process", fmt.Sprintf("generation 1 (pid %d) did not come back within 5s", pid))
	signalTo(t, pid, syscall.SIGCONT)
	l.start()
	if now := l.serves().Generations[0].PID; now != pid {
		t.Errorf("process %d serves, not %d", now, pid)
	}
	l.stop()
}
