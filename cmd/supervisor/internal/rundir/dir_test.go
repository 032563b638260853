package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/supervisor/internal/leaktest"
)

// TestMain fails when the package leaves descriptors behind.
func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, nil))
}

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 90)
	for _, c := range []struct {
		given  string
		getenv func(string) string
		uid    int
		want   Place
		err    string
	}{
		{"/given", env("RUNTIME_DIRECTORY", "/rt"), 0, Place{Path: "/given"}, ""},
		{"", env("RUNTIME_DIRECTORY", "/rt:/rt2", "XDG_RUNTIME_DIR", "/xdg"), 0, Place{Path: "/rt", Kept: true}, ""},
		{"", env("XDG_RUNTIME_DIR", "/xdg"), 0, Place{Path: "/xdg/supervisor/web", Ours: true}, ""},
		{"", env(), 0, Place{Path: "/run/supervisor/web", Ours: true}, ""},
		{"", env(), 1000, Place{}, "cannot choose a run directory"},
		{long, env(), 0, Place{}, "its path has 91 bytes"},
		{"", env("RUNTIME_DIRECTORY", long), 0, Place{}, "its path has 91 bytes"},
	} {
		got, err := Choose(c.given, "web", c.getenv, c.uid)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: error %v, want %q", c, err, c.err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("got %+v, %v; want %+v", got, err, c.want)
		}
	}
}

// open opens a directory that is closed with the test.
func openDir(t *testing.T, place Place) *Dir {
	t.Helper()
	d, err := Open(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDirectoryBelongsToOneSupervisor(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place := Place{Path: filepath.Join(root, "supervisor", "web"), Ours: true}
	d := openDir(t, place)
	var running *RunningError
	if _, err := Open(place); !errors.As(err, &running) || running.PID != 0 {
		t.Errorf("error %v, want that it is locked by somebody", err)
	}
	l, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(place); !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("error %v, want that it is locked by pid %d", err, os.Getpid())
	}
	for path, want := range map[string]fs.FileMode{filepath.Dir(d.Path): 0o755, d.Path: 0o700, d.Control(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", path, info.Mode(), err, want)
		}
	}
	l.Close()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(root); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
	openDir(t, place)
}

func TestDirectoryOfSomebodyElseStays(t *testing.T) {
	t.Parallel()
	for _, place := range []Place{{Path: t.TempDir(), Kept: true}, {Path: t.TempDir()}} {
		other := filepath.Join(place.Path, "other")
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d := openDir(t, place)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(other); err != nil {
			t.Error(err)
		}
	}
}

func TestNewDirectoryWithFilesOfSomebodyElseStays(t *testing.T) {
	t.Parallel()
	d := openDir(t, Place{Path: filepath.Join(t.TempDir(), "supervisor", "web"), Ours: true})
	other := filepath.Join(d.Path, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestWhatADeadSupervisorLeftIsRemoved(t *testing.T) {
	t.Parallel()
	place := Place{Path: filepath.Join(t.TempDir(), "supervisor", "web"), Ours: true}
	if err := os.MkdirAll(place.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, filepath.Join(place.Path, ControlSocket))
	leaveSocket(t, filepath.Join(place.Path, "generation-3.sock"))
	leaveSocket(t, filepath.Join(place.Path, "generation-4.sock"))
	for range 2 { // it is the trace of the dead one until somebody succeeds it
		d := openDir(t, place)
		if left, _ := os.ReadDir(d.Path); len(left) != 3 || !d.Left {
			t.Errorf("%d files are left, Left %v; want 3", len(left), d.Left)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	d := openDir(t, place)
	l, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := d.Sweep([]int{4}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(d.Path); len(left) != 2 || d.Left {
		t.Errorf("%d files are left, Left %v; want the new socket and that of the generation that lives", len(left), d.Left)
	}
}

// TestWhatShimsLeaveIsRemoved: the socket of a program and the directory in which
// its next version is played, where nobody else could.
func TestWhatShimsLeaveIsRemoved(t *testing.T) {
	t.Parallel()
	place := Place{Path: filepath.Join(t.TempDir(), "web")}
	d := openDir(t, place)
	leave := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(place.Path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(place.Path, name+".next")
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = os.Symlink("/bin/true", filepath.Join(dir, "program"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	leave(NotifySocket(3))
	leave(NotifySocket(30))
	if err := d.Sweep([]int{30}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(place.Path, "generation-*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != NotifySocket(30) {
		t.Errorf("%q are left, want those of generation 30 (%v)", left, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(place.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

// TestAdoptedDirectoryStaysLocked: the lock goes with the descriptor, without a
// moment in which somebody else could have it.
func TestAdoptedDirectoryStaysLocked(t *testing.T) {
	t.Parallel()
	place := Place{Path: filepath.Join(t.TempDir(), "web")}
	d := openDir(t, place)
	lock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	next, err := Adopt(place, lock, d.Made())
	if err != nil {
		t.Fatal(err)
	}
	d.lock.Close() // as an exec does
	var running *RunningError
	if other, err := Open(place); !errors.As(err, &running) {
		t.Errorf("somebody else gets it: %v, %v", other, err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(place.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory that was made for it is still there: %v", err)
	}
}

// TestSuccessorRemovesWhatTheDeadOneMade: and nothing else that it is told.
func TestSuccessorRemovesWhatTheDeadOneMade(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place := Place{Path: filepath.Join(root, "a", "b")}
	other := filepath.Join(root, "a", "bc")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	dead := openDir(t, place)
	made := dead.Made()
	dead.lock.Close() // as the kernel does
	next := openDir(t, place)
	next.Succeed(append(made, other, "relative", ""))
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(place.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
	if _, err := os.Lstat(other); err != nil {
		t.Error(err)
	}
}

// leaveSocket leaves a socket file that nobody listens at.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestDirectoryThatIsNotSafe(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	busy := t.TempDir()
	if err := os.WriteFile(filepath.Join(busy, ControlSocket), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	live := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(live, ControlSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		open:               "others may write to it (mode 0777)",
		file:               "it is not a directory",
		file + "/below":    "not a directory",
		busy:               "control.sock is not a socket",
		live:               fmt.Sprintf("is already run by pid %d", os.Getpid()),
		"/proc/no/such/es": "cannot make run directory",
	} {
		if d, err := Open(Place{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
			if err == nil {
				d.Close()
			}
		}
	}
	if _, err := Owner(filepath.Join(live, ControlSocket)); err != nil {
		t.Errorf("somebody's live socket: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(busy, ControlSocket)); string(text) != "mine" {
		t.Errorf("somebody's file now holds %q, %v", text, err)
	}
}

// TestManyStartAndEndAtOnce opens and closes one directory from many
// goroutines: at most one has it at any time, and nobody fails otherwise.
func TestManyStartAndEndAtOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place := Place{Path: filepath.Join(root, "supervisor", "web"), Ours: true}
	var tries sync.WaitGroup
	var mu sync.Mutex
	owner := 0
	for i := range 8 {
		tries.Go(func() {
			for range 50 {
				d, err := Open(place)
				var running *RunningError
				if errors.As(err, &running) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if owner != 0 {
					t.Errorf("%d and %d both have it", owner, i+1)
				}
				owner = i + 1
				mu.Unlock()
				l, err := d.Listen()
				if err != nil {
					t.Error(err)
				} else {
					l.Close()
				}
				mu.Lock()
				owner = 0
				mu.Unlock()
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tries.Wait()
	if left, _ := os.ReadDir(root); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}
}
