package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leave is a shell that leaves a grandchild in a session of its own, without
// parent and environment, and one that is stopped; a fork bomb of a kind, and a
// program that will not end on SIGTERM.
const (
	leave = `trap "" TERM; (setsid env -i sh -c 'sleep 1000 & sleep 1000' </dev/null >/dev/null 2>&1 &)
	sleep 1000 & kill -STOP $!; echo there; while :; do sleep 1000; done`
	forks = `f() { while :; do (sleep 0.01; (sleep 1000 &) ) & sleep 0.002; done; }; f & f & f & echo there; while :; do sleep 1000; done`
)

func TestKillEndsGrandchildren(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	tree := own(t)
	for name, kill := range map[string]func(*Group) error{"by the kernel": (*Group).Kill, "one by one": (*Group).killEach} {
		for _, script := range []string{leave, forks} {
			t.Run(name, func(t *testing.T) {
				g, err := tree.Group(1)
				if err != nil {
					t.Fatal(err)
				}
				start(t, g, "", "sh", "-c", script)
				await(t, "its children to be there", func() bool {
					procs, err := g.procs()
					return err == nil && len(procs) >= 5
				})
				if err := kill(g); err != nil {
					t.Error(err)
				}
				await(t, "the group to be empty", func() bool {
					populated, err := g.Populated()
					return err == nil && !populated
				})
				if err := g.Remove(within(t)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRemoveWaitsForTheLast(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	tree := own(t)
	g, err := tree.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := start(t, g, "", "sh", "-c", "echo there; exec sleep 1000")
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = g.Remove(soon)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 processes (pid "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("removed a group that is in use: %v", err)
	}
	if g, err = tree.Group(1); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- g.Remove(within(t)) }()
	select {
	case err := <-removed:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-removed; err != nil { // before it is reaped
		t.Error(err)
	}
	if left, err := tree.Left(); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestRemoveRemovesWhatTheGenerationMade(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	g := ownGroup(t)
	deep := filepath.Join(g.Path(), "a", "b")
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.Mkdir(filepath.Join(g.Path(), "c"), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := start(t, g, "", "sh", "-c", "echo 0 >"+deep+"/cgroup.procs && echo there && exec sleep 1000")
	if at := ownCgroup(t, cmd.Process.Pid); !strings.HasSuffix(at, "/generation-1/a/b") {
		t.Errorf("it is in %s", at)
	}
	if populated, err := g.Populated(); !populated || err != nil {
		t.Errorf("populated: %v, %v", populated, err)
	}
	if err := errors.Join(g.killEach(), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
}

func TestGroupThatIsGone(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	g := ownGroup(t)
	if err := os.Remove(g.Path()); err != nil {
		t.Fatal(err)
	}
	if populated, err := g.Populated(); populated || err != nil {
		t.Errorf("populated: %v, %v", populated, err)
	}
	if err := errors.Join(g.Kill(), g.killEach(), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
}

func TestRemoveOfAGroupThatVanishes(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	g := ownGroup(t)
	w, err := g.watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if populated, err := w.populated(); populated || err != nil {
		t.Errorf("populated: %v, %v", populated, err)
	}
	if err := os.Remove(g.Path()); err != nil {
		t.Fatal(err)
	}
	if populated, err := w.populated(); populated || err != nil {
		t.Errorf("populated when it is gone: %v, %v", populated, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// TestNumberOfAnotherIsNotKilled asks for a process that is not in the group.
func TestNumberOfAnotherIsNotKilled(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	g := ownGroup(t)
	other := start(t, nil, "", "sh", "-c", "echo there; exec sleep 1000")
	if err := g.killThese([]int{other.Process.Pid, 1 << 22}); err != nil {
		t.Error(err)
	}
	var status unix.WaitStatus
	if pid, err := unix.Wait4(other.Process.Pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("it has ended: %v %v", status, err)
	}
	if err := g.Remove(within(t)); err != nil {
		t.Error(err)
	}
}

func TestMemoryOfAGroup(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	g := ownGroup(t)
	if bytes, err := g.Memory(); bytes != 0 || err != nil {
		t.Errorf("an empty group uses %d, %v", bytes, err)
	}
	for range 2 {
		start(t, g, envRole+"=eat", "/proc/self/exe")
	}
	bytes, err := g.Memory()
	if err != nil || bytes < 128<<20 || bytes > 512<<20 {
		t.Errorf("two processes with 64 MiB each use %s, %v", mebibytes(bytes), err)
	}
	if err := errors.Join(g.Kill(), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
}

func TestMemoryOfAProcess(t *testing.T) {
	t.Parallel()
	if bytes, err := MemoryOf(os.Getpid()); err != nil || bytes < 1<<20 {
		t.Errorf("this one uses %d, %v", bytes, err)
	}
	if bytes, err := MemoryOf(1 << 22); err != nil || bytes != 0 {
		t.Errorf("none uses %d, %v", bytes, err)
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Error(err)
	}
	if bytes, err := MemoryOf(cmd.Process.Pid); err != nil || bytes != 0 {
		t.Errorf("a zombie uses %d, %v", bytes, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestEnterIsForTheTimeOfAStart: children are born in the group that this process
// is in, one group at a time, and the process is back afterwards.
func TestEnterIsForTheTimeOfAStart(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	tree := own(t)
	before := ownCgroup(t, os.Getpid())
	var starts sync.WaitGroup
	for n := range 4 {
		starts.Go(func() {
			g, err := tree.Group(n + 1)
			if err != nil {
				t.Error(err)
				return
			}
			leave, err := g.Enter()
			if err != nil {
				t.Error(err)
				return
			}
			child := exec.Command("sh", "-c", "sleep 1000 & exec sleep 1001")
			err = child.Start()
			if err := errors.Join(err, leave()); err != nil {
				t.Error(err)
				return
			}
			if in := ownCgroup(t, child.Process.Pid); filepath.Base(in) != groupName(n+1) {
				t.Errorf("the child for generation %d is in %s", n+1, in)
			}
			if err := g.Kill(); err != nil {
				t.Error(err)
			}
			_ = child.Wait()
			if err := g.Remove(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	if now := ownCgroup(t, os.Getpid()); now != before {
		t.Errorf("this process was in %s and is in %s", before, now)
	}
}
