package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/systemd/notifytest"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// A notified is a supervisor in a process of its own whose service manager is
// the test.
type notified struct {
	*testing.T
	socket   *notifytest.Socket
	client   *control.Client
	dir      string
	program  string     // a symbolic link to the program of the service
	flags    []string   // of supervisor run
	env      []string   // beside what a service manager sets
	names    []string   // of what the service manager passes
	files    []*os.File // the descriptors
	watchdog time.Duration
	cmd      *exec.Cmd
	steps    []step
}

// step is what the test did, and how many datagrams there were before.
type step struct {
	text   string
	before int
}

// newNotified prepares a supervisor of the program web; start starts it.
func newNotified(t *testing.T, flags ...string) *notified {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	web, err := exec.LookPath("web")
	if err != nil {
		t.Fatal(err)
	}
	n := &notified{T: t, socket: notifytest.Listen(t), dir: dir, program: filepath.Join(dir, "web"), watchdog: 30 * time.Second}
	n.client = control.NewClient(filepath.Join(dir, "run", "control.sock"))
	n.client.Reconnect = patience
	if err := os.Symlink(web, n.program); err != nil {
		t.Fatal(err)
	}
	n.flags = []string{"--name", "web", "--run-dir", filepath.Join(dir, "run"), "--bake", "300ms"}
	for _, flag := range flags {
		n.flags = append(n.flags, strings.ReplaceAll(flag, "DIR", dir))
	}
	n.Cleanup(n.cleanUp)
	return n
}

// cleanUp ends what a test that failed has left.
func (n *notified) cleanUp() {
	if n.Failed() {
		text, _ := os.ReadFile(filepath.Join(n.dir, "log"))
		n.Logf("%s", text)
	}
	if n.cmd == nil || n.cmd.ProcessState != nil {
		return
	}
	if err := n.client.Stop(n.Context(), true); err != nil {
		_ = n.cmd.Process.Kill()
	}
	_ = n.cmd.Wait()
}

// start starts the supervisor as a service manager does: WATCHDOG_PID and
// LISTEN_PID are its pid.
func (n *notified) start(words ...string) {
	n.Helper()
	n.did("supervisor run")
	if len(words) == 0 {
		words = []string{n.program}
	}
	flags := n.flags
	env := []string{"NOTIFY_SOCKET=" + n.socket.Path, "WATCHDOG_USEC=" + strconv.FormatInt(n.watchdog.Microseconds(), 10)}
	if len(n.files) == 0 {
		flags = append(slices.Clip(flags), "--listen", "http=tcp://127.0.0.1:0")
	} else {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(n.files)), "LISTEN_FDNAMES="+strings.Join(n.names, ":"))
	}
	script := `export WATCHDOG_PID=$$; test -z "$LISTEN_FDS" || export LISTEN_PID=$$; exec supervisor run "$@"`
	n.cmd = exec.Command("sh", slices.Concat([]string{"-c", script, "sh"}, flags, []string{"--"}, words)...)
	n.cmd.Env = slices.Concat(os.Environ(), env, n.env)
	n.cmd.ExtraFiles = n.files
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.Fatal(err)
	}
	defer log.Close()
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.Fatal(err)
	}
}

// pass has the service manager pass a descriptor.
func (n *notified) pass(name string, f *os.File) {
	n.names, n.files = append(n.names, name), append(n.files, f)
}

// did notes what the test does next.
func (n *notified) did(text string) {
	n.steps = append(n.steps, step{text, len(n.socket.All())})
}

// until reads datagrams until one ends with the text, numbers being as in the
// golden files.
func (n *notified) until(text string) {
	n.Helper()
	for late := time.Now().Add(patience); ; {
		message, fds := n.socket.Next(n, time.Until(late))
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if strings.HasSuffix(normal(message), text) {
			return
		}
		if time.Now().After(late) { // pings come for ever
			n.Fatalf("waited in vain for %q; was told:\n%s", text, n.story())
		}
	}
}

// active starts the supervisor and waits until it is idle.
func (n *notified) active() {
	n.Helper()
	n.start()
	n.until("READY=1\nSTATUS=generation 1 active")
}

// attempt asks for an upgrade or a rollback and returns a function that waits
// for its verdict.
func (n *notified) attempt(kind upgrade.Kind, words ...string) (verdict func(upgrade.Verdict)) {
	n.Helper()
	request := upgrade.Request{WaitDrain: true}
	if kind == upgrade.KindUpgrade {
		request.Program = &upgrade.Program{Command: append([]string{n.program}, words...)}
	}
	n.did("supervisor " + strings.Join(append([]string{string(kind)}, words...), " "))
	type result struct {
		report upgrade.Report
		err    error
	}
	done := make(chan result, 1)
	go func() { // joined by the verdict
		report, err := n.client.Attempt(n.Context(), kind, request, func([]byte, control.Line) {})
		done <- result{report, err}
	}()
	return func(want upgrade.Verdict) {
		n.Helper()
		if r := <-done; r.err != nil || r.report.Verdict != want {
			n.Fatalf("%s (%s), %v; want %s", r.report.Verdict, r.report.Reason, r.err, want)
		}
	}
}

// signal sends a signal to the supervisor.
func (n *notified) signal(sig syscall.Signal) {
	n.did(unix.SignalName(sig))
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.Fatal(err)
	}
}

// crash kills a generation.
func (n *notified) crash(generation int) {
	n.Helper()
	status, err := n.client.Status(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	n.did("SIGKILL to the generation")
	for _, g := range status.Generations {
		if g.Generation == generation {
			if err := syscall.Kill(g.PID, syscall.SIGKILL); err != nil {
				n.Fatal(err)
			}
		}
	}
}

// kill kills the supervisor; its generations serve on.
func (n *notified) kill() {
	n.Helper()
	n.did("SIGKILL")
	if err := n.cmd.Process.Kill(); err != nil {
		n.Fatal(err)
	}
	_ = n.cmd.Wait()
}

// reexec has the supervisor execute itself.
func (n *notified) reexec() {
	n.Helper()
	n.did("supervisor reexec")
	if _, err := n.client.Reexec(n.Context(), ""); err != nil {
		n.Fatal(err)
	}
}

// slow begins a request that takes a while, and returns the answer.
func (n *notified) slow(takes string) io.ReadCloser {
	n.Helper()
	status, err := n.client.Status(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + status.Listeners[0].Address + "/slow?for=" + takes)
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() { answer.Body.Close() })
	n.await(func(st upgrade.Status) bool { return *st.Generations[0].Active == 1 })
	return answer.Body
}

// await polls the status until ok says so.
func (n *notified) await(ok func(upgrade.Status) bool) {
	n.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		status, err := n.client.Status(n.Context())
		if err == nil && ok(status) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			n.Fatalf("waited in vain: %+v, %v", status, err)
		}
	}
}

// freeze stops the supervisor's process, as a debugger would, and returns when
// it stands still.
func (n *notified) freeze() {
	n.Helper()
	n.signal(syscall.SIGSTOP)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid), "stat"))
		if err != nil {
			n.Fatal(err)
		}
		if _, rest, _ := bytes.Cut(text, []byte(") ")); bytes.HasPrefix(rest, []byte("T")) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			n.Fatalf("it does not stand still: %s", text)
		}
	}
}

// end waits until the supervisor has ended.
func (n *notified) end(status int) {
	n.Helper()
	timer := time.AfterFunc(patience, func() { _ = n.cmd.Process.Kill() })
	defer timer.Stop()
	err := n.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || n.cmd.ProcessState.ExitCode() != status {
		n.Errorf("the supervisor ended with %v, want status %d", err, status)
	}
}

// stop stops the supervisor.
func (n *notified) stop() {
	n.Helper()
	n.signal(syscall.SIGTERM)
	n.end(0)
}

var (
	times     = regexp.MustCompile(`[0-9]+\.[0-9] s\b`)
	monotonic = regexp.MustCompile(`MONOTONIC_USEC=[0-9]+`)
	limit     = regexp.MustCompile(`(queue [0-9]+)/[0-9]+`)
)

// normal is a datagram without what differs from run to run: times, the longest
// accept queue that the system allows, directories.
func normal(message string) string {
	message = times.ReplaceAllString(message, "N s")
	message = monotonic.ReplaceAllString(message, "MONOTONIC_USEC=N")
	return limit.ReplaceAllString(message, "$1/LIMIT")
}

// story is all that was sent, with what the test did. Left out are pings, lines
// that are told again with other times, and those that the next datagram repeats
// with more: what comes first, the verdict of an upgrade or that it was by signal,
// is open.
func (n *notified) story() string {
	var told []string
	steps, line := n.steps, ""
	for i, message := range n.socket.All() {
		for len(steps) > 0 && steps[0].before <= i {
			told, steps, line = append(told, "# "+steps[0].text), steps[1:], ""
		}
		message = normal(message)
		_, now, hasLine := strings.Cut(message, "STATUS=")
		switch {
		case message == "WATCHDOG=1", message == "STATUS="+line:
			continue
		case hasLine && told[len(told)-1] == "STATUS="+now:
			told = told[:len(told)-1]
		}
		if hasLine {
			line = now
		}
		told = append(told, strings.ReplaceAll(message, "\n", "\n    "))
	}
	return strings.ReplaceAll(strings.Join(told, "\n"), n.dir, "DIR") + "\n"
}
