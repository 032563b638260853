//go:build linux

package python

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

func TestEchoPausesResumesAndDrains(t *testing.T) {
	t.Parallel()
	l := listen(t, "echo")
	g, hello := start(t, "echo.py", l)
	if !slices.Equal(hello.Capabilities, []string{fdpass.CanPause, fdpass.CanStats}) || hello.PID != g.cmd.Process.Pid {
		t.Errorf("hello is %+v", hello)
	}
	open := dial(t, l)
	echo(t, open, "hello")

	g.send(fdpass.Pause{ID: 7})
	g.expect(fdpass.Paused{ID: 7, Accepted: 1})
	waiting := dial(t, l)
	if _, err := io.WriteString(waiting, "patience"); err != nil {
		t.Fatal(err)
	}
	// Several rounds through the child's loop, and still nobody accepts.
	for _, word := range []string{"an", "open", "connection", "is", "served", "while", "paused"} {
		echo(t, open, word)
	}
	if n := queued(t, l); n != 1 {
		t.Errorf("%d connections wait while the child is paused, want 1", n)
	}
	g.send(fdpass.Pause{ID: 8})
	g.expect(fdpass.Paused{ID: 8, Accepted: 1})

	g.send(fdpass.Resume{ID: 9})
	g.expect(fdpass.Resumed{ID: 9})
	back := make([]byte, len("patience"))
	if _, err := io.ReadFull(waiting, back); err != nil || string(back) != "patience" {
		t.Errorf("after resume: %q, %v", back, err)
	}
	waiting.Close()

	g.send(fdpass.Drain{ID: 10, DeadlineMS: patience.Milliseconds()})
	g.send(fdpass.Pause{ID: 11})
	if m, ok := g.receive().(fdpass.Error); !ok || !strings.Contains(m.Reason, "drains") {
		t.Errorf("pause while draining: %v", m)
	}
	echo(t, open, "still here")
	open.Close()
	g.expect(fdpass.Drained{ID: 10, Accepted: 2})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	s := g.stats["echo"]
	if total(s.Durations) != 2 || s.Accepted != 2 || s.Active != 0 {
		t.Errorf("statistics before the end are %+v", s)
	}
	checkListener(t, l)
}

// What has changed is told at the interval, the rest once a second.
func TestEchoSendsStatisticsThatChange(t *testing.T) {
	t.Parallel()
	busy, idle := listen(t, "busy"), listen(t, "idle")
	g, _ := start(t, "echo.py", busy, idle)
	g.statsUntil("both are told of", func() bool { return len(g.stats) == 2 })
	begin := time.Now()
	messages := g.statsUntil("the idle ones were told of again", func() bool {
		return g.told["busy"] >= 2 && g.told["idle"] >= 2
	})
	if took := time.Since(begin); took < 500*time.Millisecond || took > 3*time.Second || messages > 2 {
		t.Errorf("%d messages in %v", messages, took)
	}
	c := dial(t, busy)
	echo(t, c, "hello")
	g.statsUntil("the connection is told of", func() bool { return g.stats["busy"].Active == 1 })
	c.Close()
	g.statsUntil("its end is told of", func() bool { return g.stats["busy"].Active == 0 })
	if s := g.stats["busy"]; s.Accepted != 1 || s.Sojourn != nil || total(s.Durations) != 1 {
		t.Errorf("got %+v", s)
	}
	g.send(fdpass.Drain{ID: 1})
	g.expect(fdpass.Drained{ID: 1, Accepted: 1})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func total(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestEchoCutsAtTheDeadline(t *testing.T) {
	t.Parallel()
	l := listen(t, "echo")
	g, _ := start(t, "echo.py", l)
	c := dial(t, l)
	echo(t, c, "hello")
	g.send(fdpass.Drain{ID: 1, DeadlineMS: 50})
	g.expect(fdpass.Drained{ID: 1, Accepted: 1, Cut: 1})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// What waits in the queue of a paused child is served, because nobody else will.
func TestEchoEmptiesItsQueueInAFinalDrain(t *testing.T) {
	t.Parallel()
	l := listen(t, "echo")
	g, _ := start(t, "echo.py", l)
	g.send(fdpass.Pause{ID: 1})
	g.expect(fdpass.Paused{ID: 1})
	var waiting []net.Conn
	for range 20 {
		waiting = append(waiting, dial(t, l))
	}
	if n := queued(t, l); n != 20 {
		t.Errorf("%d connections wait, want 20", n)
	}
	g.send(fdpass.Drain{ID: 2, DeadlineMS: patience.Milliseconds(), Final: true})
	for _, c := range waiting {
		echo(t, c, "at last")
		c.Close()
	}
	g.expect(fdpass.Drained{ID: 2, Accepted: 20})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func TestEchoServesOnWithoutItsSupervisor(t *testing.T) {
	t.Parallel()
	l := listen(t, "echo")
	g, _ := start(t, "echo.py", l)
	g.send(fdpass.Pause{ID: 1})
	g.expect(fdpass.Paused{ID: 1})
	c := dial(t, l)
	g.conn.Close()
	echo(t, c, "it accepts again")
	other := dial(t, l)
	echo(t, other, "and again")
	c.Close()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	echo(t, other, "SIGTERM drains")
	other.Close()
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func TestEchoTakesManyListeners(t *testing.T) {
	t.Parallel()
	var ls []fdpass.Listener
	for i := range 300 {
		ls = append(ls, listen(t, fmt.Sprintf("echo-%d", i)))
	}
	g, _ := start(t, "echo.py", ls...)
	for _, l := range []fdpass.Listener{ls[0], ls[251], ls[252], ls[299]} {
		echo(t, dial(t, l), l.Name)
	}
	g.send(fdpass.Drain{ID: 1})
	if m, ok := g.receive().(fdpass.Drained); !ok || m.Accepted != 4 {
		t.Errorf("got %+v", m)
	}
	if len(g.stats) != 300 {
		t.Errorf("statistics of %d listeners, want 300", len(g.stats))
	}
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func TestEchoRefusesWhatItCannotServe(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	l, err := fdpass.Describe("dns", fd)
	if err != nil {
		t.Fatal(err)
	}
	g := launch(t, "echo.py")
	if _, err := fdpass.Offer(g.conn, fdpass.Welcome{Service: "echo", Generation: 1}, fd, []fdpass.Listener{l}); err != nil {
		t.Fatal(err)
	}
	if m, ok := g.receive().(fdpass.Failed); !ok || !strings.Contains(m.Reason, "listener dns is udp4") {
		t.Errorf("got %+v", m)
	}
	var status *exec.ExitError
	if err := g.wait(); !errors.As(err, &status) || status.ExitCode() != 1 {
		t.Errorf("got %v, want exit status 1", err)
	}
}

func TestEchoAnswersNonsenseAndGoesOn(t *testing.T) {
	t.Parallel()
	l := listen(t, "echo")
	g, _ := start(t, "echo.py", l)
	g.send(fdpass.Resumed{ID: 1})
	if m, ok := g.receive().(fdpass.Error); !ok || !strings.Contains(m.Reason, "unknown message resumed") {
		t.Errorf("got %+v", m)
	}
	echo(t, dial(t, l), "well")
	g.send(fdpass.Drain{ID: 1})
	if m, ok := g.receive().(fdpass.Drained); !ok {
		t.Errorf("got %+v", m)
	}
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func TestEchoRunsAlone(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the Python example cannot be run")
	}
	cmd := exec.Command(python, "echo.py", "0")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "echoing at ")
	if !ok {
		t.Errorf("it said %q, %v", line, err)
	} else {
		c := dial(t, fdpass.Listener{Address: address})
		echo(t, c, "hello")
		c.Close()
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// The program that docs/protocol.md shows is a child.
func TestSmallestChildOfTheDocument(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the document shows no child")
	}
	program := filepath.Join(t.TempDir(), "smallest.py")
	if err := os.WriteFile(program, block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	http, admin := listen(t, "http"), listen(t, "admin")
	g, hello := start(t, program, http, admin)
	if len(hello.Capabilities) != 0 {
		t.Errorf("hello is %+v", hello)
	}
	for _, l := range []fdpass.Listener{http, admin} {
		if got, err := io.ReadAll(dial(t, l)); err != nil || string(got) != "hello\n" {
			t.Errorf("%s: got %q, %v", l.Name, got, err)
		}
	}
	g.send(fdpass.Drain{ID: 3, DeadlineMS: 1000})
	g.expect(fdpass.Drained{ID: 3})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	checkListener(t, http)
}
