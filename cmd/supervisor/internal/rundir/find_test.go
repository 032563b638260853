package rundir

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// serveIn listens at a control socket until the test ends.
func serveIn(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ControlSocket)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

func TestListShowsWhatIsAlive(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	xdg, system, unit := filepath.Join(root, "xdg"), filepath.Join(root, "sys"), filepath.Join(root, "unit")
	b := serveIn(t, filepath.Join(xdg, "supervisor", "b"))
	a := serveIn(t, filepath.Join(system, "a"))
	u := serveIn(t, unit)
	if err := os.Mkdir(filepath.Join(system, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(system, "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, filepath.Join(system, "dead", ControlSocket))
	got := list(env("XDG_RUNTIME_DIR", xdg, "RUNTIME_DIRECTORY", unit+":/other"), system)
	want := []Service{{Socket: u, Runtime: true}, {Name: "b", Socket: b}, {Name: "a", Socket: a}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := list(env(), filepath.Join(root, "none")); len(got) > 0 {
		t.Errorf("found %+v where nothing is", got)
	}
}

func TestChooseAmongServices(t *testing.T) {
	t.Parallel()
	denied := errors.New("denied")
	unit := Service{Socket: "/unit", Runtime: true}
	a, b, other := Service{Name: "a", Socket: "/a"}, Service{Name: "b", Socket: "/b"}, Service{Name: "other", Socket: "/other", Err: denied}
	ask := func(socket string) (string, error) {
		if socket == "/unit" {
			return "u", nil
		}
		return "", errors.New("asked needlessly")
	}
	for _, c := range []struct {
		name  string
		found []Service
		want  string
		err   string
	}{
		{"", nil, "", "no running service found"},
		{"", []Service{a}, "/a", ""},
		{"", []Service{a, b}, "", "several services are running; name one of a, b"},
		{"", []Service{unit, a, b}, "/unit", ""},
		{"", []Service{other}, "/other", "denied"},
		{"b", []Service{a, b}, "/b", ""},
		{"u", []Service{unit, a}, "/unit", ""},
		{"a", []Service{unit, a}, "/a", ""},
		{"c", []Service{unit, b, a}, "", "service c is not running; running are a, b"},
		{"c", nil, "", "service c is not running as far as can be seen"},
		{"other", []Service{a, other}, "/other", "denied"},
		// Those that may not be talked to are in nobody's way.
		{"", []Service{other, a}, "/a", ""},
		{"a", []Service{{Name: "a", Socket: "/theirs", Err: denied}, a}, "/a", ""},
		{"", []Service{a, {Name: "a", Socket: "/a2"}}, "", "several services are running that are called a; give a control socket with --socket: /a or /a2"},
	} {
		got, err := choose(c.name, c.found, ask)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q in %+v: got %q, %v; want %q, %q", c.name, c.found, got, err, c.want, c.err)
		}
	}
}

func TestServiceThatWasKilledIsToldOf(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, filepath.Join(root, "dead", ControlSocket))
	for name, want := range map[string]string{
		"dead": "service dead is not running, but left " + root + "/dead: its supervisor was killed",
		"none": "service none is not running as far as can be seen",
		"":     "no running service found, but a supervisor that was killed left " + root + "/dead; supervisor status NAME says more",
	} {
		if _, err := find(name, env("XDG_RUNTIME_DIR", "/xdg"), root, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", name, err, want)
		}
	}
	empty := t.TempDir()
	want := "no running service found in /xdg/supervisor or " + empty + "; give its control socket with --socket"
	if _, err := find("", env("XDG_RUNTIME_DIR", "/xdg"), empty, nil); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live := serveIn(t, dir)
	if pid, err := Owner(live); err != nil || pid != os.Getpid() {
		t.Errorf("got %d, %v; want %d", pid, err, os.Getpid())
	}
	dead := filepath.Join(dir, "dead.sock")
	leaveSocket(t, dead)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dead, filepath.Join(dir, "none"), file, file + "/below"} {
		if _, err := Owner(path); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: error %v, want %v", path, err, ErrNotRunning)
		}
	}
	if err := Alive(live); err != nil {
		t.Error(err)
	}
}

func TestPeerOfIsForUnixConnections(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := PeerOf(a); err == nil {
		t.Error("no error")
	}
}
