package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// inBetween is a binary that does something between the supervisor that was and
// the one that is to be, in the same process, where no signal is caught.
func inBetween(tb testing.TB, doing string) (path string) {
	tb.Helper()
	next, err := exec.LookPath("supervisor")
	if err != nil {
		tb.Fatal(err)
	}
	return script(tb, fmt.Sprintf("if [ \"$1\" = run ]; then\n%s\nfi\nexec %s \"$@\"", doing, next))
}

// killing is a binary that kills a child in between. It is no shell script, because
// a shell reaps children that are not its own.
func killing(tb testing.TB, pid int) (path string) {
	tb.Helper()
	next, err := exec.LookPath("supervisor")
	if err != nil {
		tb.Fatal(err)
	}
	return script(tb, fmt.Sprintf("exec killer %d %s \"$@\"", pid, next))
}

// killer kills its child, where it is to run a service, and executes the program
// behind it when that has ended.
func killer() {
	pid, err := strconv.Atoi(os.Args[1])
	if err == nil && os.Args[3] == "run" {
		err = errors.Join(syscall.Kill(pid, syscall.SIGKILL), unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	}
	if err == nil {
		err = syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "killer:", err)
	os.Exit(1)
}

// TestReexecWhileSignalsCome: what comes between the two programs is as
// documented. HUP and CHLD do no harm, under load.
func TestReexecWhileSignalsCome(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	first := l.serves()
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 20)
	before := l.settled()
	for _, signals := range []string{"HUP", "CHLD", "HUP HUP HUP CHLD"} {
		l.replace(inBetween(t, "for s in "+signals+"; do kill -$s $$; done"))
		l.standsAs(before)
	}
	if now := l.serves(); now.Generations[0].Generation != 1 || len(now.Reports) > 0 {
		t.Errorf("a HUP that came in between has upgraded: %+v", now)
	}
	signalTo(t, l.cmd.Process.Pid, syscall.SIGHUP) // one that comes later does
	l.await("generation 2", func(s upgrade.Status) bool { return oneActive(s) && s.Generations[0].Generation == 2 })
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestTermDuringReexec: one that comes between the two programs ends the
// supervisor, and the generation waits for the next one.
func TestTermDuringReexec(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	first := l.serves()
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 20)
	if _, err := l.client.Reexec(t.Context(), inBetween(t, "kill -TERM $$")); err == nil {
		t.Error("the client is told that it was replaced")
	}
	_ = l.cmd.Wait()
	l.ended = true
	if how, ok := l.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || how.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", l.cmd.ProcessState)
	}
	l.answered(run, 20)
	l.start()
	if now := l.serves(); now.Generations[0].PID != first.Generations[0].PID {
		t.Errorf("%+v serves, not %+v", now.Generations, first.Generations)
	}
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestTermAtAnyMomentOfAReexec ends the service; or, between the two programs, the
// supervisor alone. Nothing else happens.
func TestTermAtAnyMomentOfAReexec(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		l := found(t, []string{"web"})
		l.serves()
		var asked sync.WaitGroup
		asked.Go(func() { _, _ = l.client.Reexec(t.Context(), "") }) // its answer may be anything
		<-time.After(time.Duration(i) * 25 * time.Millisecond)       // no moment is the right one
		signalTo(t, l.cmd.Process.Pid, syscall.SIGTERM)
		asked.Wait()
		timer := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
		_ = l.cmd.Wait()
		timer.Stop()
		l.ended = true
		how, _ := l.cmd.ProcessState.Sys().(syscall.WaitStatus)
		t.Logf("after %d ms: %v", i*25, l.cmd.ProcessState)
		switch {
		case how.Signaled() && how.Signal() == syscall.SIGTERM:
			l.start()
			l.serves()
			l.stop()
		case !how.Exited() || how.ExitStatus() != 0:
			t.Errorf("it ended with %v", l.cmd.ProcessState)
		case len(l.processes()) > 0:
			t.Errorf("processes are left: %v", l.processes())
		}
	}
}

// TestReexecInAStormOfHangups: each HUP is an upgrade or none, each replacement
// happens or is refused; no connection is lost, and in the end all is as it
// should be.
func TestReexecInAStormOfHangups(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "20ms", "--settle", "20ms")
	run := l.traffic("http://" + l.serves().Listeners[0].Address)
	l.answered(run, 20)
	replaced, refused := 0, 0
	for i := range 12 {
		var asked sync.WaitGroup
		asked.Go(func() {
			<-time.After(time.Duration(i) * 20 * time.Millisecond) // no moment is the right one
			for range 3 {
				signalTo(t, l.cmd.Process.Pid, syscall.SIGHUP)
			}
		})
		switch _, err := l.client.Reexec(t.Context(), ""); err.(type) {
		case nil:
			replaced++
		case *control.RefusedError:
			refused++
		default:
			t.Errorf("the client is told %v", err)
		}
		asked.Wait()
		if i%4 != 3 { // else the next one meets an upgrade
			l.await("the end of the upgrades", oneActive)
		}
	}
	t.Logf("%d times replaced, %d times refused", replaced, refused)
	looks := 0
	l.await("the end of the upgrades", func(s upgrade.Status) bool {
		if looks++; !oneActive(s) {
			looks = 0
		}
		return looks == 20 // at first the last HUP may not have been heeded yet
	})
	l.replaced(1)
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestGenerationEndsDuringReexec: the next supervisor notices, with the status,
// and does what is to be done.
func TestGenerationEndsDuringReexec(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms", "--backoff-min", "10ms")
	first := l.serves()
	pid := first.Generations[0].PID
	l.replace(killing(t, pid))
	l.await("another generation", func(s upgrade.Status) bool { return oneActive(s) && s.Generations[0].PID != pid })
	if now := l.serves(); now.Generations[0].Generation != 2 || now.Restarts != 1 {
		t.Errorf("%+v, want generation 2 after one restart", now)
	}
	if n := strings.Count(l.logged(), "was killed by signal 9"); n != 1 {
		t.Errorf("the log tells %d times how generation 1 ended", n)
	}
	// One that drains, and for which somebody waits.
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 10)
	run.Stop() // who is served by it is cut off
	hold(t, first.Listeners[0].Address)
	asked := l.upgrade([]string{program}, true)
	before := l.await("a drain", inADrain)
	l.replace(killing(t, before.Generations[0].PID))
	asked.verdict(upgrade.Committed, "")
	if !asked.report.CutUnknown {
		t.Errorf("nobody can know how many were cut, and it says %d", asked.report.Cut)
	}
	l.serves()
	l.wantNoZombies()
	l.stop()
}

// TestOrphansOfAReexec: who becomes an orphan between the two programs is reaped.
func TestOrphansOfAReexec(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"web"}, "--bake", "100ms", "--settle", "20ms")
	l.serves()
	l.replace(inBetween(t, "(sleep 0.01 &) ; (sleep 0.3 &) ; (sh -c 'kill -KILL $$' &) ; sleep 0.1"))
	l.serves()
	l.wantNoZombies()
	l.upgradesOn("web")
	l.stop()
}

// Fields of a stat (proc_pid_stat(5)), from the state on.
const (
	statState = iota
	statParent
	statGroup
)

// running are the processes that are no zombies and of which ok says so.
func running(tb testing.TB, ok func(stat []string) bool) []int {
	tb.Helper()
	return processesThat(tb, func(stat []string) bool { return stat[statState] != "Z" && ok(stat) })
}

func processesThat(tb testing.TB, ok func(stat []string) bool) (all []int) {
	tb.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if stat := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])); ok(stat) {
			all = append(all, pid)
		}
	}
	return all
}

// wantNoZombies waits until the supervisor has no child that is a zombie.
func (l *lineage) wantNoZombies() {
	l.Helper()
	wantNoZombies(l, l.cmd.Process.Pid)
}

func wantNoZombies(tb testing.TB, parent int) {
	tb.Helper()
	zombies := func() []int {
		return processesThat(tb, func(stat []string) bool {
			return stat[statState] == "Z" && stat[statParent] == strconv.Itoa(parent)
		})
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); len(zombies()) > 0; {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("zombies are left: %v", slices.Clip(zombies()))
		}
	}
}

// TestSignalIsCaughtOrLeft: one that was caught at the last moment before a
// reexec, and has not come anywhere yet, is heeded.
func TestSignalIsCaughtOrLeft(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 200 {
		heeded, came := catchSignals(), catchSignals()
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT} {
			if err := unix.Tgkill(os.Getpid(), unix.Gettid(), sig); err != nil { // caught when it returns
				t.Fatal(err)
			}
		}
		err := lastCaught(heeded, came)
		if err == nil || !strings.Contains(err.Error(), "goes first") {
			t.Fatalf("got error %v", err)
		}
		hangups, quits := 0, 0
		for sig := oneOf(heeded); sig != nil; sig = oneOf(heeded) {
			switch sig {
			case syscall.SIGHUP:
				hangups++
			case syscall.SIGQUIT:
				quits++
			}
		}
		if hangups != 1 || quits < 1 {
			t.Fatalf("%d HUP and %d QUIT are heeded", hangups, quits)
		}
	}
}
