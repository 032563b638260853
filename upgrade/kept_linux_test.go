package upgrade

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kept resolves a program of that text in a directory of its own, and keeps it.
func kept(t *testing.T, k *Kept, text string) (r Release, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "release")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(dir, "app")
	if err := os.WriteFile(app, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(Program{Command: []string{app}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	k.keep(r)
	k.unpin(r)
	return r, dir
}

// TestKeptReleaseIsStartedWhereverItsPathLeads.
func TestKeptReleaseIsStartedWhereverItsPathLeads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		spoil func(dir string) error
		want  string // the error; "" for none
	}{
		"as it was":       {"\x7fELF", func(string) error { return nil }, ""},
		"deleted":         {"\x7fELF", os.RemoveAll, ""},
		"another":         {"\x7fELF", func(dir string) error { return replaceBy(dir, "\x7fELF2") }, ""},
		"written over":    {"\x7fELF", func(dir string) error { return os.WriteFile(filepath.Join(dir, "app"), []byte("other"), 0o755) }, "written over"},
		"a script":        {"#!/bin/sh", os.RemoveAll, "script"},
		"another script":  {"#!/bin/sh", func(dir string) error { return replaceBy(dir, "#!/bin/bash") }, "script"},
		"a script, there": {"#!/bin/sh", func(string) error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := NewKept()
			defer k.Close()
			r, dir := kept(t, k, c.text)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			from, err := k.start(r)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || from.Path != r.Path {
					t.Errorf("got %s, %v; want an error with %q", from.Path, err, c.want)
				}
				return
			}
			text, readErr := os.ReadFile(from.Path)
			if err := errors.Join(err, readErr); err != nil || string(text) != c.text {
				t.Errorf("%s has %q, %v", from.Path, text, err)
			}
			if identityOf(from.WorkingDir()) != r.RootFile {
				t.Errorf("%s is another directory", from.WorkingDir())
			}
		})
	}
}

func replaceBy(dir, text string) error {
	if err := os.Rename(dir, dir+".old"); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "app"), []byte(text), 0o755)
}

// TestKeptIsGivenUpWhenNobodyNeedsIt, and not while somebody may.
func TestKeptIsGivenUpWhenNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	k := NewKept()
	defer k.Close()
	one, dir := kept(t, k, "\x7fELF1")
	two, _ := kept(t, k, "\x7fELF2")
	k.keep(two) // an admission
	k.retain([]*Release{&one, nil})
	if n := len(k.state()); n != 4 {
		t.Errorf("%d descriptors are open for two releases", n)
	}
	k.unpin(two)
	if k.retain([]*Release{&one}); len(k.state()) != 2 {
		t.Errorf("%+v stay", k.state())
	}
	if k.retain(nil); len(k.state()) != 0 {
		t.Errorf("%+v stay", k.state())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := k.start(one); err == nil {
		t.Error("what was given up can be started")
	}
}

// TestKeptByAProcess: what another supervisor ran is found by its process; what
// that runs besides is not.
func TestKeptByAProcess(t *testing.T) {
	t.Parallel()
	k := NewKept()
	defer k.Close()
	self, err := Resolve(Program{Command: []string{"/proc/self/exe"}})
	if err != nil {
		t.Fatal(err)
	}
	self.Path = "/deleted/" + filepath.Base(self.Path)
	k.adopt(self, os.Getpid())
	if from, err := k.start(self); err != nil || identityOf(from.Path) != self.File {
		t.Errorf("got %s, %v", from.Path, err)
	}
	other, dir := kept(t, keptFor(t), "\x7fELF")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if k.adopt(other, os.Getpid()); len(k.state()) != 1 {
		t.Errorf("got %+v", k.state())
	}
	k.adopt(other, 0)
}

// keptFor is a Kept that ends with the test.
func keptFor(t *testing.T) *Kept {
	k := NewKept()
	t.Cleanup(k.Close)
	return k
}

// TestKeptNothing: without a Kept a release is what its path leads to.
func TestKeptNothing(t *testing.T) {
	t.Parallel()
	var k *Kept
	r, dir := kept(t, k, "#!/bin/sh")
	if _, err := k.start(r); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := k.start(r); err == nil {
		t.Error("what is gone can be started")
	}
	k.adopt(r, os.Getpid())
	k.retain(nil)
	k.Close()
}

// TestWhatIsWrittenOverIsNoCandidate: what was admitted is not there any more when
// the candidate is to be started. Only in the place of one that ended it is: then
// something has to run.
func TestWhatIsWrittenOverIsNoCandidate(t *testing.T) {
	t.Parallel()
	k := NewKept()
	defer k.Close()
	r, dir := kept(t, k, "\x7fELF")
	if err := os.WriteFile(filepath.Join(dir, "app"), []byte("#!/bin/sh\nexit 7"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := NewLauncher(LauncherConfig{Kept: k})
	for again, want := range map[bool]string{false: "cannot be started: program " + r.Path + " has been written over since that release was admitted", true: "exited with status 7"} {
		ended := make(chan Exited, 1)
		l.Launch(1, r, again, time.Second, func(e Event) {
			if e, ok := e.(Exited); ok {
				ended <- e
			}
		})
		if e := <-ended; !strings.HasPrefix(e.Reason, want) {
			t.Errorf("again %v: %s; want %s", again, e.Reason, want)
		}
	}
	l.Join()
}
