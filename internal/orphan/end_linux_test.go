package orphan

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What generations leave: a grandchild in a session of its own, whose parent has
// ended, one that is stopped, one that heeds no SIGTERM.
const leave = `trap "" TERM HUP
(setsid sh -c 'sleep 1000 & sleep 1000' </dev/null >/dev/null 2>&1 &)
sleep 1000 & kill -STOP $!
`

// exitAfter ends the leader with what it left; stay keeps it.
const (
	exitAfter = "echo there"
	stay      = "echo there; exec sleep 1000"
)

// living are the descendants of this process that have not ended.
func living(t *testing.T) []Process {
	t.Helper()
	all, err := Descendants(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, Process.dead)
}

func reaper(t *testing.T, known func(int) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&Reaper{Known: known, Logger: logger(t)}).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// awaitNone waits until this process has no child, zombies included.
func awaitNone(t *testing.T) {
	t.Helper()
	await(t, "all to be reaped", func() bool {
		all, err := Descendants(os.Getpid())
		return err == nil && len(all) == 0
	})
}

func TestEndOfWhatAGenerationLeft(t *testing.T) {
	if !inside(t) {
		return
	}
	marker := markerOf(t)
	reaper(t, nil)
	other := shell(t, stay, Marker(8, "another"))
	generation := shell(t, leave+exitAfter, marker)
	if err := generation.wait(); err != nil {
		t.Fatal(err)
	}
	await(t, "four to be left", func() bool { s, err := Strays(marker); return err == nil && len(s) == 4 })
	if err := End(t.Context(), marker, logger(t)); err != nil {
		t.Error(err)
	}
	left := living(t)
	if slices.ContainsFunc(left, func(p Process) bool { return p.PID != other.pid && p.Parent != other.pid }) {
		t.Errorf("left are %+v", left)
	}
	if !slices.ContainsFunc(left, func(p Process) bool { return p.PID == other.pid }) {
		t.Error("another generation was ended too")
	}
	if err := EndChildren(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_ = other.wait()
	awaitNone(t)
}

// TestEndWithoutBeingTheParent is for generations that a killed supervisor left:
// what they leave is given to somebody else.
func TestEndWithoutBeingTheParent(t *testing.T) {
	t.Parallel()
	marker := markerOf(t)
	generation := shell(t, leave+exitAfter, marker)
	if err := generation.wait(); err != nil {
		t.Fatal(err)
	}
	await(t, "four to be left", func() bool { s, err := Strays(marker); return err == nil && len(s) == 4 })
	if err := End(t.Context(), marker, logger(t)); err != nil {
		t.Error(err)
	}
	if s, err := Strays(marker); err != nil || len(s) != 0 {
		t.Errorf("left are %+v, %v", s, err)
	}
}

func TestEndOfThoseThatFork(t *testing.T) {
	t.Parallel()
	const forks = `f() { while :; do (sleep 0.01; (setsid sleep 1000 &) ) & sleep 0.002; done; }
	exec </dev/null 2>/dev/null; f & f & f &
	` + exitAfter
	marker := markerOf(t)
	generation := shell(t, forks, marker)
	if err := generation.wait(); err != nil {
		t.Fatal(err)
	}
	await(t, "some to be left", func() bool { s, err := Strays(marker); return err == nil && len(s) >= 10 })
	if err := End(t.Context(), marker, logger(t)); err != nil {
		t.Error(err)
	}
	if s, err := Strays(marker); err != nil || len(s) != 0 {
		t.Errorf("left are %+v, %v", s, err)
	}
}

func TestEndFindsThoseBelowWithoutTheMarker(t *testing.T) {
	t.Parallel()
	marker := markerOf(t)
	generation := shell(t, "env -i sh -c 'exec >/dev/null; sleep 1000 & wait' & "+stay, marker)
	var cleared []Process
	await(t, "children without the marker", func() bool {
		below, err := Descendants(generation.pid)
		r := newReader(marker)
		cleared = slices.DeleteFunc(below, func(p Process) bool { return r.has(p.PID) })
		return err == nil && len(cleared) == 2
	})
	if err := End(t.Context(), marker, logger(t)); err != nil {
		t.Error(err)
	}
	for _, p := range cleared {
		if now, err := readProcess(p.PID); err == nil && now.Start == p.Start && !now.dead() {
			t.Errorf("%+v is left", now)
		}
	}
}

func TestEndChildren(t *testing.T) {
	if !inside(t) {
		return
	}
	reaper(t, nil)
	spare := shell(t, "setsid sleep 1000 </dev/null >/dev/null & "+stay)
	shell(t, `env -i setsid -f sh -c 'exec >/dev/null; sleep 1000 & wait'; sleep 1000 >/dev/null & `+stay)
	await(t, "all to be there", func() bool { return len(living(t)) == 6 })
	if err := EndChildren(t.Context(), func(pid int) bool { return pid == spare.pid }); err != nil {
		t.Error(err)
	}
	for _, p := range living(t) {
		if p.PID != spare.pid && p.Parent != spare.pid {
			t.Errorf("left is %+v", p)
		}
	}
	if len(living(t)) != 2 {
		t.Errorf("of what was to be spared, only %+v is left", living(t))
	}
	if err := EndChildren(t.Context(), nil); err != nil {
		t.Error(err)
	}
	awaitNone(t)
}

func TestEndIsBounded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	marker := markerOf(t)
	generation := shell(t, stay, marker)
	err := End(ctx, marker, logger(t))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "is left") {
		t.Errorf("got %v", err)
	}
	_ = generation.wait()
	began := time.Now()
	if err := End(t.Context(), marker, logger(t)); err != nil || time.Since(began) > patience {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAnotherWithTheNumberIsNotKilled(t *testing.T) {
	t.Parallel()
	p := shell(t, stay)
	was, err := readProcess(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	was.Start--
	e := newEnding()
	e.killAll([]Process{was})
	e.kill(was.PID, func(Process) bool { return false })
	e.await()
	if now, err := readProcess(was.PID); err != nil || now.dead() || len(e.killed) > 0 {
		t.Errorf("it is %+v, %v", now, err)
	}
}

func TestMarkerIsKeptFromNobodyElse(t *testing.T) {
	t.Parallel()
	if a, b := Marker(1, "token"), Marker(1, "another"); a == b || strings.Contains(a, "token") || !strings.HasPrefix(a, "SUPERVISOR_MARK=1/") {
		t.Errorf("markers %s and %s", a, b)
	}
	if s, err := Strays(""); err != nil || len(s) > 0 {
		t.Errorf("without a marker: %+v, %v", s, err)
	}
	long := strings.Repeat("x", 3*environSize) // the kernel takes 128 KiB
	p := shell(t, stay, "LONG="+long, markerOf(t))
	if s, err := Strays(markerOf(t)); err != nil || !slices.ContainsFunc(s, func(s Process) bool { return s.PID == p.pid }) {
		t.Errorf("behind a long variable: %+v, %v", s, err)
	}
	if err := End(t.Context(), markerOf(t), logger(t)); err != nil {
		t.Error(err)
	}
}
