package orphan

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOrphansAreReapedAndChildrenAreNot(t *testing.T) {
	if !inside(t) {
		return
	}
	reaper(t, nil)
	var waits sync.WaitGroup
	for range 4 { // of os/exec, which learn how their child ended
		waits.Go(func() {
			for range 50 {
				cmd := exec.Command("sh", "-c", "(setsid true &); exit 7")
				_ = cmd.Run()
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
					t.Errorf("an exit status is lost: %v", cmd.ProcessState)
				}
			}
		})
	}
	waits.Wait()
	awaitNone(t)
}

// TestKnownAreKept leaves the zombie of a generation to the launcher, however
// long it takes.
func TestKnownAreKept(t *testing.T) {
	if !inside(t) {
		return
	}
	cmd := exec.Command("sh", "-c", "(sleep 0.1 &); exit 7")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	looked := make(chan struct{}, 1000)
	reaper(t, func(pid int) bool {
		if pid != cmd.Process.Pid {
			return false
		}
		select {
		case looked <- struct{}{}:
		default:
		}
		return true
	})
	for range 2 * suspectLooks {
		<-looked
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit status %d is not that of the generation", code)
	}
	awaitNone(t)
}

// TestZombieOfOurOwnGroup is reaped in time: it looks like a child of os/exec that
// nobody waits for.
func TestZombieOfOurOwnGroup(t *testing.T) {
	if !inside(t) {
		return
	}
	reaper(t, nil)
	began := time.Now()
	if err := exec.Command("sh", "-c", "(sleep 0 & exec sleep 0.1) & exit 0").Run(); err != nil {
		t.Fatal(err)
	}
	awaitNone(t)
	if took := time.Since(began); took < (suspectLooks-1)*lookApart {
		t.Errorf("reaped after %v, when somebody might have waited", took)
	}
}

func TestReapedOrphansAreTold(t *testing.T) {
	if !inside(t) {
		return
	}
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "exit 5"}, &syscall.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	z, err := readProcess(pid)
	if err != nil || !z.dead() || z.Parent != os.Getpid() {
		t.Errorf("it is %+v, %v", z, err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reap(z, log)
	reap(z, log) // somebody was faster
	if text := out.String(); strings.Count(text, "status=5") != 1 || strings.Count(text, "\n") != 1 {
		t.Errorf("told %q", text)
	}
	if someZombie() {
		t.Error("a zombie is left")
	}
}
