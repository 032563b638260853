package orphan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
)

const (
	// envInside says that this is a test run again in a process of its own, to
	// which orphans are given.
	envInside = "ORPHAN_TEST_INSIDE"
	// waitLimit is for what should happen at once, on a busy machine.
	waitLimit = 20 * time.Second
)

// TestMain fails when a test leaves a descriptor open, or a child.
func TestMain(m *testing.M) {
	code := leaktest.Run(m, nil)
	below, err := Descendants(os.Getpid())
	strays, wrong := Strays(testMarker())
	if err = errors.Join(err, wrong, End(context.Background(), testMarker(), slog.Default())); err != nil || len(below)+len(strays) > 0 {
		fmt.Fprintf(os.Stderr, "tests left processes: %+v %+v %v\n", below, strays, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// testMarker is in the environment of all that tests start, if they let it be.
func testMarker() string { return fmt.Sprint("ORPHAN_TEST_OF=", os.Getpid()) }

// inside runs the calling test again in a process of its own. It returns true in
// that process; there the test begins, elsewhere it is over.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envInside) != "" {
		if err := Adopt(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), envInside+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside: %v\n%s", err, out)
	}
	return false
}

// markerOf is of no other test.
func markerOf(t *testing.T) string { return Marker(7, fmt.Sprint(t.Name(), os.Getpid())) }

// started is a child that is waited for from its start on.
type started struct {
	pid   int
	ended chan struct{}
	err   error // of the wait, when it has ended
}

func (s *started) wait() error {
	<-s.ended
	return s.err
}

// shell starts a script in a process group of its own, as a generation, and waits
// until it has said "there". It is killed with the test.
func shell(t testing.TB, script string, env ...string) *started {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(append(os.Environ(), testMarker()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-s.ended })
	said := make([]byte, 6)
	if _, err := io.ReadFull(r, said); err != nil || string(said) != "there\n" {
		t.Fatalf("%s says %q, %v", script, said, err)
	}
	return s
}

// await polls until ok, or fails the test.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(waitLimit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
