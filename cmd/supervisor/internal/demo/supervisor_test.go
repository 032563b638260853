package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stuck starts the test binary, which as a supervisor never stops.
func stuck(t *testing.T) *supervisor {
	t.Helper()
	log, err := openLog()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Executable = executable
	s, err := startSupervisor(c, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !strings.Contains(tail(log), "is stuck") {
		if !pause(ctx, 5*time.Millisecond) {
			t.Fatal("it does not start")
		}
	}
	return s
}

func TestHurryKillsASupervisorThatDoesNotStop(t *testing.T) {
	t.Parallel()
	s := stuck(t)
	hurry := make(chan struct{})
	close(hurry)
	if err := s.end(hurry); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error is %v", err)
	}
	if left := s.remains(time.Minute); len(left) > 0 {
		t.Error(left)
	}
}

func TestRemainsAreFoundAndRemoved(t *testing.T) {
	t.Parallel()
	s := stuck(t)
	if err := os.Mkdir(s.runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.runDir, "control.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	left := strings.Join(s.remains(0), "\n")
	for _, want := range []string{"process ", RunCommand, "file " + s.runDir + "\n", "control.sock"} {
		if !strings.Contains(left, want) {
			t.Errorf("found %q, want %q too", left, want)
		}
	}
	<-s.ended // it was killed
	s.leash.Close()
	if left := s.remains(time.Minute); len(left) > 0 {
		t.Error(left)
	}
}

func TestRunDirMustBeShort(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/tmp/"+strings.Repeat("x", 80))
	dir, err := runDir("0123456789")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(dir, "xxx") {
		t.Errorf("the directory is %s", dir)
	}
}

func TestRunWithoutASupervisorIsNotOK(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Executable = "/bin/false"
	r := Run(t.Context(), nil, c)
	if r.OK || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "cannot start the service: the supervisor ended by itself: exit status 1") {
		t.Errorf("problems are %q", r.Problems)
	}
}

func TestInterruptedRunEndsInAHurry(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Executable = executable // is stuck
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hurry := make(chan struct{})
	close(hurry)
	if r := Run(ctx, hurry, c); r.OK || !r.Interrupted || len(r.LeftBehind) > 0 {
		t.Errorf("result is %+v", r)
	}
}
