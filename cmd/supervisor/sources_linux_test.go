package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
	"golang.org/x/sys/unix"
)

// stored gives a listener at path as the service manager passes one from its
// descriptor store.
func stored(t *testing.T, path string) systemd.Descriptor {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	fd, err := descriptorOf(l)
	if err != nil {
		t.Fatal(err)
	}
	return systemd.Descriptor{Name: systemd.StoreName("local"), FD: fd}
}

func reach(t *testing.T, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("nobody can connect: %v", err)
	}
	conn.Close()
}

// TestStoredSocketWithoutItsFileIsNotTaken: nobody reaches it. Nothing was written
// down of it here, as by a supervisor that died before it could.
func TestStoredSocketWithoutItsFileIsNotTaken(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		d := stored(t, path)
		want, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if gone {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		o := &origin{passed: systemd.Inherited{Stored: []systemd.Descriptor{d}}}
		all, err := o.sources(t.Context(), config.Config{Listen: []string{"local=unix://" + path}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		reach(t, path)
		now, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if same := os.SameFile(want, now); same == gone {
			t.Errorf("the file gone: %t, the same file: %t", gone, same)
		}
		if forgotten := len(o.unclaimed) == 1; forgotten != gone {
			t.Errorf("the file gone: %t, the store is told to forget it: %t", gone, forgotten)
		}
		if err := all[0].socket.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the file is left")
		}
	}
}

// TestStoredSocketIsTakenIfItsFileIsStillThat: a supervisor that was started again
// has left the file, which may be another one now, or asked for otherwise.
func TestStoredSocketIsTakenIfItsFileIsStillThat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		asked  string // for the listener, behind its path
		change func(t *testing.T, path string)
		taken  bool
	}{
		"still":          {taken: true},
		"another file":   {change: replaced},
		"another mode":   {asked: "?mode=0600"},
		"another socket": {change: func(*testing.T, string) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			d := stored(t, path)
			kept, err := unix.FcntlInt(uintptr(d.FD), unix.F_DUPFD_CLOEXEC, 3) // the store's own
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(kept)
			l, err := fdpass.Describe("local", d.FD)
			if err != nil {
				t.Fatal(err)
			}
			was, err := listen.Identify(path)
			if err != nil {
				t.Fatal(err)
			}
			left := handover.Listener{
				Name: "local", Network: "unix", Address: path, Cookie: uint64(l.Cookie), Spec: "local=unix://" + path,
				File: &handover.FileIdentity{Dev: was.Dev, Ino: was.Ino},
			}
			if name == "another socket" {
				left.Cookie++
			}
			if c.change != nil {
				c.change(t, path)
			}
			o := &origin{passed: systemd.Inherited{Stored: []systemd.Descriptor{d}}, stored: []handover.Listener{left}}
			all, err := o.sources(t.Context(), config.Config{Listen: []string{"local=unix://" + path + c.asked}}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			reach(t, path)
			if taken := len(o.unclaimed) == 0; taken != c.taken || all[0].taken != c.taken {
				t.Errorf("it was taken: %t, want %t", taken, c.taken)
			}
			if err := all[0].socket.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("the file is left")
			}
		})
	}
}

// replaced puts the file of a socket that is gone there.
func replaced(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path, path+".old"); err != nil { // its number is not given again
		t.Fatal(err)
	}
	d := stored(t, path)
	if err := unix.Close(d.FD); err != nil {
		t.Fatal(err)
	}
}

// TestSupervisorThatCannotStartLeavesSocketsReachable: the next one takes over
// those that this one had taken over.
func TestSupervisorThatCannotStartLeavesSocketsReachable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	d := stored(t, path)
	kept, err := unix.FcntlInt(uintptr(d.FD), unix.F_DUPFD_CLOEXEC, 3) // the store's own
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	o := &origin{passed: systemd.Inherited{Stored: []systemd.Descriptor{d}}}
	missing := filepath.Join(t.TempDir(), "none", "s")
	if _, err := o.sources(t.Context(), config.Config{Listen: []string{"local=unix://" + path, "other=unix://" + missing}}, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("it starts")
	}
	reach(t, path)
}

// TestSocketsOfGenerationsOutliveASupervisorThatCannotStart: what was changed in
// the configuration of a killed supervisor keeps the next one from its start. The
// generations that serve meanwhile can be reached, then and after the next start.
func TestSocketsOfGenerationsOutliveASupervisorThatCannotStart(t *testing.T) {
	t.Parallel()
	l := found(t, []string{misbehaveIn(t)}, "--listen", "http=unix://$DIR/http.sock")
	path := filepath.Join(l.dir, "http.sock")
	pid := l.serves().Generations[0].PID
	l.kill()
	right := l.args
	l.args = append([]string{"run", "--listen", "other=unix://" + filepath.Join(l.runDir(), "s")}, right[1:]...)
	l.start()
	l.fails("is reserved for the supervisor's own files")
	reach(t, path)
	l.args = right
	l.start()
	if now := l.serves().Generations[0].PID; now != pid {
		t.Errorf("process %d serves, not %d", now, pid)
	}
	reach(t, path)
	l.stop()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is left")
	}
}
