package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// smallDisk makes dir a file system of 256 KiB until the test ends.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("a mount is left: %v", err)
		}
	})
}

// fillUp leaves nothing of a file system, and returns what gives it back.
func fillUp(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "somebody's")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

const full = ": no space left on device; free some"

// TestFullRunDirectoryAdmitsNoUpgrade: what the next supervisor would need may not
// be written. The status says so as long as that is so, an upgrade is refused, a
// rollback and a forced one are not. With room again all is as before, and a
// supervisor that is killed has a successor.
func TestFullRunDirectoryAdmitsNoUpgrade(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := conceive(t, []string{program}, "--bake", "0s", "--queue", "*:off")
	l.keepsDir = true
	smallDisk(t, l.runDir())
	l.start()
	l.serves()
	empty := fillUp(t, l.runDir())
	l.await("the trouble", func(s upgrade.Status) bool { return strings.HasSuffix(s.Trouble, l.runDir()+full) })
	l.upgrade([]string{program}, false).verdict(upgrade.Refused, "what the next supervisor needs to take over cannot be written to "+l.runDir()+full+", or use --force")
	report, err := l.client.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{Force: true}, func([]byte, control.Line) {})
	if err != nil || report.Verdict != upgrade.Committed || !strings.Contains(report.Overruled, full) {
		t.Errorf("a forced one: %s (%s), overruled %q, %v", report.Verdict, report.Reason, report.Overruled, err)
	}
	empty()
	l.await("the end of the trouble", func(s upgrade.Status) bool { return s.Trouble == "" })
	l.upgradesOn(program, "-version", "after")
	l.succeed()
	l.serves()
	l.stop()
}

// TestStateThatCannotBeWrittenIsNoWrongOne: the state of an earlier step goes, and
// comes again when there is room.
func TestStateThatCannotBeWrittenIsNoWrongOne(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	smallDisk(t, mount)
	dir, err := rundir.Open(rundir.Place{Path: filepath.Join(mount, "run")})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var log strings.Builder
	r := &record{dir: dir, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := errors.Join(r.write(handover.State{}), r.trouble()); err != nil {
		t.Fatal(err)
	}
	later := handover.State{Writer: strings.Repeat("x", 1<<15)}
	empty := fillUp(t, mount)
	if err := r.write(later); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing failed with %v", err)
	}
	if _, err := os.Lstat(dir.State()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state of the earlier step is there: %v", err)
	}
	if err := r.trouble(); err == nil || !strings.HasSuffix(err.Error(), full) {
		t.Errorf("the trouble is %v", err)
	}
	empty()
	r.see(func(context.Context) error { return r.write(later) })
	if _, err := os.Lstat(dir.State()); err != nil || r.trouble() != nil {
		t.Errorf("with room again: %v, %v", err, r.trouble())
	}
	if !strings.Contains(log.String(), "cannot write down") || !strings.Contains(log.String(), "is written down again") {
		t.Errorf("logged\n%s", log.String())
	}
	if err := os.RemoveAll(dir.Path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.see(nil)
	}
	if n := strings.Count(log.String(), "is gone; restart the service"); n != 1 || !errors.Is(r.trouble(), rundir.ErrGone) {
		t.Errorf("with the directory gone: %v, logged %d times", r.trouble(), n)
	}
}

// TestSupervisorSaysSinceWhenItIsTheOne: after a crash, the service is older than
// the supervisor.
func TestSupervisorSaysSinceWhenItIsTheOne(t *testing.T) {
	t.Parallel()
	l := found(t, []string{misbehaveIn(t)}, "--queue", "*:off")
	first := l.serves()
	if !first.SupervisorStarted.Equal(first.Started) {
		t.Errorf("at first: %v and %v", first.Started, first.SupervisorStarted)
	}
	l.succeed()
	second := l.serves()
	if !second.Started.Equal(first.Started) || !second.SupervisorStarted.After(first.Started) {
		t.Errorf("then: %v and %v", second.Started, second.SupervisorStarted)
	}
	var text strings.Builder
	if err := printStatus(&text, second, nil, second.SupervisorStarted.Add(12*time.Second)); err != nil || !strings.Contains(text.String(), " (this supervisor 12s), idle") {
		t.Errorf("%v: %s", err, text.String())
	}
	l.stop()
}
