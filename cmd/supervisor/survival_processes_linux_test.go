package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// TestSupervisorKilledInABackOff: with no generation alive and no service manager
// to keep the sockets nobody holds them, so that clients wait for the next
// supervisor; that one starts the service without a back-off, as its own death was
// no fault of it.
func TestSupervisorKilledInABackOff(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	port, err := findPort()
	if err != nil {
		t.Fatal(err)
	}
	l := found(t, []string{program}, "--listen", "http=tcp://127.0.0.1:"+port, "--backoff-min", "1h", "--backoff-max", "1h", "--bake", "100ms")
	signalTo(t, l.serves().Generations[0].PID, syscall.SIGKILL)
	l.await("a back-off", func(s upgrade.Status) bool { return s.Restart != nil && len(s.Generations) == 0 })
	l.succeed()
	status := l.serves()
	if n := status.Generations[0].Generation; n != 2 || status.Restarts != 1 {
		t.Errorf("generation %d is active after %d restarts, want 2 after 1", n, status.Restarts)
	}
	run := l.traffic("http://127.0.0.1:" + port)
	l.answered(run, 20)
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestSupervisorKilledWhileItStops: the next one goes on stopping, what clients
// have begun is finished, and nothing is left.
func TestSupervisorKilledWhileItStops(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program, "-grandchild"})
	slow := hold(t, l.await("an active generation", oneActive).Listeners[0].Address)
	stopped := make(chan error, 1)
	go func() { stopped <- l.client.Stop(t.Context(), false) }() // joined below
	l.await("a stop", func(s upgrade.Status) bool {
		return s.Stopping && len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleDraining
	})
	l.succeed()
	if err := <-stopped; err == nil {
		t.Error("the client is told that it has stopped")
	}
	l.await("a stop that goes on", func(s upgrade.Status) bool { return s.Stopping && s.PID == l.cmd.Process.Pid })
	if answer := slow(); answer != "slow" {
		t.Errorf("the client of the service got %q", answer)
	}
	l.hasEnded()
}

// hold sends a request that examples/misbehave works at when hold returns, and for
// as long as the test likes: answer sends the rest of it, and returns what comes
// back, which is "slow".
func hold(t *testing.T, address string) (answer func() string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	const head = "POST /echo HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
	const goOn = "HTTP/1.1 100 Continue\r\n\r\n" // once somebody reads the body
	begun := make([]byte, len(goOn))
	_, err = io.WriteString(conn, head)
	if err == nil {
		_, err = io.ReadFull(conn, begun)
	}
	if err != nil || string(begun) != goOn {
		t.Fatalf("%q, %v", begun, err)
	}
	return func() string {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "slow"); err != nil {
			return err.Error()
		}
		text, err := io.ReadAll(conn)
		if err != nil {
			return err.Error()
		}
		_, body, _ := strings.Cut(string(text), "\r\n\r\n")
		return strings.TrimSpace(body)
	}
}

// TestAdoptedGenerationThatCrashesIsRestarted: the next supervisor is not its
// parent, and notices nevertheless.
func TestAdoptedGenerationThatCrashesIsRestarted(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program, "-grandchild"}, "--bake", "100ms", "--backoff-min", "10ms")
	first := l.await("an active generation", oneActive)
	l.succeed()
	l.await("an adopted generation", func(s upgrade.Status) bool { return oneActive(s) && s.PID == l.cmd.Process.Pid })
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 20)
	run.Stop() // a crash loses what the generation had accepted
	began := time.Now()
	signalTo(t, first.Generations[0].PID, syscall.SIGKILL)
	status := l.await("another active generation", func(s upgrade.Status) bool {
		return oneActive(s) && s.Generations[0].Generation == 2
	})
	t.Logf("another generation is active %v after the crash", time.Since(began))
	if status.Restarts != 1 {
		t.Errorf("%d restarts, want 1", status.Restarts)
	}
	// One grandchild is left of the first, which ends with it, and one of the second.
	l.poll("the end of what the crashed generation left", func() bool { return len(l.processes()) == 3 }, func() any { return l.processes() })
	answer, err := http.Get("http://" + first.Listeners[0].Address + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	l.stop()
}

func oneActive(s upgrade.Status) bool {
	return s.Phase == upgrade.PhaseIdle && len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive
}

// TestStopEndsWhatAdoptedGenerationsLeave: grandchildren of generations that lived
// and of those that died while there was no supervisor.
func TestStopEndsWhatAdoptedGenerationsLeave(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program, "-grandchild"}, "--bake", "10s")
	l.await("an active generation", oneActive)
	asked := l.upgrade([]string{program, "-grandchild"}, false)
	status := l.await("the bake", inPhase(upgrade.PhaseBake))
	l.kill()
	for _, g := range status.Generations {
		if g.Role == upgrade.RoleActive {
			signalTo(t, g.PID, syscall.SIGKILL)
		}
	}
	l.start()
	asked.verdict(upgrade.RolledBack, "the supervisor was killed during the bake")
	l.await("the old generation", func(s upgrade.Status) bool { return oneActive(s) && s.Generations[0].Generation == 1 })
	l.poll("the end of what the dead one left", func() bool { return len(l.processes()) == 3 }, func() any { return l.processes() })
	for n, left := range []bool{true, false} {
		if _, err := os.Lstat(filepath.Join(l.runDir(), fmt.Sprintf("generation-%d.sock", n+1))); (err == nil) != left {
			t.Errorf("the socket of generation %d: %v", n+1, err)
		}
	}
	l.stop()
}

// TestNewProgramEndsWhatDeadGenerationsLeft: nobody lives who could be adopted, and
// the next supervisor runs another program, so it begins anew.
func TestNewProgramEndsWhatDeadGenerationsLeft(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program, "-grandchild"})
	status := l.await("an active generation", oneActive)
	l.kill()
	signalTo(t, status.Generations[0].PID, syscall.SIGKILL)
	l.args = l.args[:len(l.args)-1]
	l.start()
	l.serves()
	if !strings.Contains(l.logged(), "begins anew") {
		t.Error("it does not begin anew")
	}
	l.stop()
}

// TestMuteGenerationIsAdoptedLater: one that is stopped while the next supervisor
// gathers the others is taken over when it continues.
func TestMuteGenerationIsAdoptedLater(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms")
	pid := l.serves().Generations[0].PID
	// Not before: a group that is stopped when its parent dies is hung up by the
	// kernel (kill_orphaned_pgrp in kernel/exit.c).
	l.kill()
	signalTo(t, pid, syscall.SIGSTOP)
	defer signalTo(t, pid, syscall.SIGCONT)
	l.start()
	l.poll("a supervisor that waits for it", func() bool { return strings.Contains(l.logged(), "looking for its generations") }, func() any { return l.logged() })
	signalTo(t, pid, syscall.SIGCONT)
	status := l.serves()
	if status.Generations[0].PID != pid {
		t.Errorf("process %d serves, not %d", status.Generations[0].PID, pid)
	}
	l.upgradesOn(program)
	l.stop()
}
