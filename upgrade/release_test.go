package upgrade

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNewProgramKeepsWhatItDoesNotSay: directory, environment, and how it is
// spoken to.
func TestNewProgramKeepsWhatItDoesNotSay(t *testing.T) {
	t.Parallel()
	now := Program{Command: []string{"web", "-v"}, Dir: "/srv", Env: []string{"A=1"}, Protocol: "listen-fds", Ready: "2s", Stop: "QUIT"}
	for name, c := range map[string]struct{ asked, want Program }{
		"the words alone": {
			Program{Command: []string{"/new", "-x"}},
			Program{Command: []string{"/new", "-x"}, Dir: "/srv", Env: []string{"A=1"}, Protocol: "listen-fds", Ready: "2s", Stop: "QUIT"},
		},
		"a directory": {
			Program{Command: []string{"new"}, Dir: "/other"},
			Program{Command: []string{"new"}, Dir: "/other", Env: []string{"A=1"}, Protocol: "listen-fds", Ready: "2s", Stop: "QUIT"},
		},
		"no environment at all": {
			Program{Command: []string{"/new"}, Dir: "/other", Env: []string{}},
			Program{Command: []string{"/new"}, Dir: "/other", Env: []string{}, Protocol: "listen-fds", Ready: "2s", Stop: "QUIT"},
		},
		"all": {
			Program{Command: []string{"/new"}, Dir: "/o", Env: []string{"B=2"}, Protocol: "none", Ready: "1s", Stop: "TERM"},
			Program{Command: []string{"/new"}, Dir: "/o", Env: []string{"B=2"}, Protocol: "none", Ready: "1s", Stop: "TERM"},
		},
	} {
		m, err := NewMachine(Policy{})
		if err != nil {
			t.Fatal(err)
		}
		m.Step(Boot{Release: Release{Program: now, Path: "/srv/web"}})
		m.Step(SaidReady{1, true})
		m.Step(ProbePassed{1})
		actions := m.Step(Requested{Request: 1, Kind: KindUpgrade, Program: &c.asked})
		i := slices.IndexFunc(actions, func(a Action) bool { _, ok := a.(Admit); return ok })
		if i < 0 || !reflect.DeepEqual(actions[i].(Admit).Program, c.want) {
			t.Errorf("%s: %+v, want %+v", name, actions, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	app := filepath.Join(dir, "app")
	for name, mode := range map[string]os.FileMode{"app": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/true"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("app", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("gone", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		program Program
		path    string // of the release
		err     string
	}{
		{"absolute", Program{Command: []string{app}}, app, ""},
		{"symlink", Program{Command: []string{filepath.Join(dir, "current")}}, app, ""},
		{"relative to the directory", Program{Command: []string{"./app"}, Dir: dir}, app, ""},
		{"nothing", Program{}, "", "no program given"},
		{"empty", Program{Command: []string{""}}, "", "no program given"},
		{"missing", Program{Command: []string{filepath.Join(dir, "missing")}}, "", "no such file"},
		{"dangling", Program{Command: []string{filepath.Join(dir, "dangling")}}, "", "no such file"},
		{"a directory", Program{Command: []string{dir}}, "", "is a directory"},
		{"not executable", Program{Command: []string{filepath.Join(dir, "data")}}, "", "chmod +x"},
		{"not in PATH", Program{Command: []string{"no-such-program-anywhere"}}, "", "not in PATH"},
		{"working directory missing", Program{Command: []string{app}, Dir: filepath.Join(dir, "nowhere")}, "", "working directory"},
		{"working directory is a file", Program{Command: []string{app}, Dir: app}, "", "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Resolve(c.program)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %+v, %v; want an error with %q", r, err, c.err)
				}
				return
			}
			if want, _ := filepath.EvalSymlinks(c.path); err != nil || r.Path != want {
				t.Errorf("got %q, %v; want %q", r.Path, err, want)
			}
			if err := r.Check(); err != nil {
				t.Errorf("it is no longer itself: %v", err)
			}
		})
	}
}

func TestReleaseNoticesThatItsFileWasReplaced(t *testing.T) {
	t.Parallel()
	app := filepath.Join(t.TempDir(), "app")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(app, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	r, err := Resolve(Program{Command: []string{app}})
	if err != nil {
		t.Fatal(err)
	}
	write("three")
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("got %v", err)
	}
}

func TestPolicyNamesTheFieldThatCannotBe(t *testing.T) {
	t.Parallel()
	for field, p := range map[string]Policy{
		"ReadyTimeout": {ReadyTimeout: -1}, "Bake": {Bake: -time.Second}, "BackoffMin": {BackoffMin: 2, BackoffMax: 1}, "MaxDraining": {MaxDraining: -1},
	} {
		if _, err := NewMachine(p); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestTailReadsWhatCameSince(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("before\n"); err != nil {
		t.Fatal(err)
	}
	tail := newTail(f)
	if got := tail.lines(); got != nil {
		t.Errorf("got %q before anything was written", got)
	}
	for i := range 2 * tailLines {
		if _, err := f.WriteString(strings.Repeat("x", i) + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got := lastOf(tail.lines(), func(line string) bool { return line == "xxx" }); len(got) != tailLines || got[len(got)-1] != strings.Repeat("x", 2*tailLines-1) {
		t.Errorf("got %q", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if got := newTail(w).lines(); got != nil {
		t.Errorf("got %q from a pipe", got)
	}
}

func TestCleanEnvironment(t *testing.T) {
	t.Parallel()
	got := CleanEnv([]string{"PATH=/bin", "LISTEN_FDS=3", "NOTIFY_SOCKET=/run/x", "SUPERVISOR_FD=3", "WATCHDOG_USEC=1", "LISTEN_ADDR=:80", "HOME=/"})
	if want := []string{"PATH=/bin", "LISTEN_ADDR=:80", "HOME=/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReleaseIsWhatItWasMadeOf: a release knows again what is shown of it, and is
// another one as soon as anything differs that it was made of.
func TestReleaseIsWhatItWasMadeOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("app", "#!/bin/true")
	write("env", "A=1\n")
	for _, n := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	point := func(to string) {
		t.Helper()
		link := filepath.Join(dir, "current")
		_ = os.Remove(link)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	point("one")
	program := Program{Command: []string{filepath.Join(dir, "app")}, Dir: filepath.Join(dir, "current"), Env: []string{"B=1"}, EnvFiles: []string{filepath.Join(dir, "env")}}
	resolve := func(p Program) Release {
		t.Helper()
		r, err := Resolve(p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := resolve(program)
	if got := r.Environment(); !slices.Equal(got, []string{"A=1", "B=1"}) || filepath.Base(r.WorkingDir()) != "one" {
		t.Errorf("got the environment %q in %s", got, r.WorkingDir())
	}
	if !r.Same(resolve(program)) || !r.Same(r.Shown()) || slices.Contains(r.Shown().Environment(), "A=1") {
		t.Errorf("%+v is not shown as itself: %+v", r, r.Shown())
	}
	other := program
	other.Env = []string{"B=2"}
	if r.Same(resolve(other)) {
		t.Error("another variable, and it is the same")
	}
	write("env", "A=2\n")
	if r.Same(resolve(program)) {
		t.Error("another environment file, and it is the same")
	}
	write("env", "A=1\n")
	if point("two"); r.Same(resolve(program)) {
		t.Error("another working directory, and it is the same")
	}
}
