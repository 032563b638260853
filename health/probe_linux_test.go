package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
)

// TestMain fails when the package leaves descriptors behind.
func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(m, nil))
}

// serveUnix answers on a Unix socket until the test ends.
func serveUnix(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return path
}

func TestHTTPWants2xx(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.Header().Set("Location", "/healthz?status=200")
		w.WriteHeader(status)
		fmt.Fprintf(w, "\n  the \x1b[31mdisk is full \xff\nat /var\n")
	})
	for status, want := range map[int]string{
		200: "", 204: "",
		302: "probe GET /healthz?status=302: status 302 Found: the  [31mdisk is full \ufffd",
		503: "probe GET /healthz?status=503: status 503 Service Unavailable: the  [31mdisk is full \ufffd",
	} {
		err := HTTP{Socket: socket, Path: fmt.Sprintf("/healthz?status=%d", status)}.Check(t.Context())
		if text := fmt.Sprint(err); (want == "") != (err == nil) || want != "" && text != want {
			t.Errorf("status %d: error %q, want %q", status, text, want)
		}
	}
}

func TestHTTPShortensTheReason(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		fmt.Fprint(w, strings.Repeat("é", 100_000))
	})
	err := HTTP{Socket: socket}.Check(t.Context())
	if err == nil || len(err.Error()) > maxLine+100 || !strings.HasSuffix(err.Error(), "é...") {
		t.Errorf("error %v, want a short one", err)
	}
}

func TestHTTPThatHangsHasATimeout(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	err := HTTP{Socket: socket, Timeout: 20 * time.Millisecond}.Check(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("error %v, want the timeout", err)
	}
}

func TestHTTPEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	socket := serveUnix(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if err := (HTTP{Socket: socket}).Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestHTTPWithoutAServer(t *testing.T) {
	t.Parallel()
	err := HTTP{Socket: filepath.Join(t.TempDir(), "none.sock")}.Check(t.Context())
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("error %v, want %v", err, syscall.ENOENT)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		script string
		want   string
	}{
		{"exit 0", ""},
		{"echo fine; exit 0", ""},
		{"exit 3", "probe command sh: exit status 3"},
		{"echo one; echo two >&2; exit 1", "probe command sh: exit status 1: one | two"},
		{"for i in 1 2 3 4 5 6 7; do echo $i; done; exit 1", "probe command sh: exit status 1: 3 | 4 | 5 | 6 | 7"},
		{"kill -9 $$", "probe command sh: signal: killed"},
		{"echo $GREETING $(pwd); exit 1", "probe command sh: exit status 1: hi " + dir},
	} {
		err := Command{Args: []string{"sh", "-c", c.script}, Dir: dir, Env: []string{"GREETING=hi", "PATH=" + os.Getenv("PATH")}}.Check(t.Context())
		if text := fmt.Sprint(err); (c.want == "") != (err == nil) || c.want != "" && text != c.want {
			t.Errorf("%s: error %q, want %q", c.script, text, c.want)
		}
	}
}

func TestCommandThatCannotRun(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {""}, {"/no/such/program"}} {
		if err := (Command{Args: args}).Check(t.Context()); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Command{Args: []string{"true"}}).Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestCommandTimeoutKillsTheWholeGroup(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	script := "sleep 1000 & echo $! $$ > " + pids + "; echo waiting; wait"
	err := Command{Args: []string{"sh", "-c", script}, Timeout: 300 * time.Millisecond}.Check(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 300ms") || !strings.HasSuffix(err.Error(), "waiting") {
		t.Errorf("error %v, want the timeout and the output", err)
	}
	wantGone(t, pids)
}

func TestCommandThatLeavesAChildBehind(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	began := time.Now()
	err := Command{Args: []string{"sh", "-c", "sleep 1000 & echo $! > " + pids}, Timeout: time.Minute}.Check(t.Context())
	if err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("error %v after %v, want nil soon", err, time.Since(began))
	}
	wantGone(t, pids)
}

// wantGone fails unless every process whose pid is in the file has ended.
func wantGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		deadline := time.After(10 * time.Second)
		for running(word) {
			select {
			case <-deadline:
				t.Fatalf("process %s still runs", word)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// running tells whether pid is a process that is not a zombie; those are
// init's to reap.
func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
