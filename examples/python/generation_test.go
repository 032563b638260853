//go:build linux

package python

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// A generation is a child that runs, as its supervisor sees it.
type generation struct {
	t     *testing.T
	conn  *fdpass.Conn
	cmd   *exec.Cmd
	err   bytes.Buffer
	ended bool
	stats map[string]fdpass.ListenerStats
	told  map[string]int // how often there were statistics of a listener
}

// start runs a Python program as generation and hands it the listeners.
func start(t *testing.T, program string, listeners ...fdpass.Listener) (*generation, fdpass.Hello) {
	t.Helper()
	return startWith(t, program, fdpass.Welcome{StatsMS: 20, ReadyMS: 5000}, listeners...)
}

func startWith(t *testing.T, program string, w fdpass.Welcome, listeners ...fdpass.Listener) (*generation, fdpass.Hello) {
	t.Helper()
	g := launch(t, program)
	w.Service, w.Generation = "echo", 1
	hello, err := fdpass.Offer(g.conn, w, -1, listeners)
	if err != nil {
		t.Fatalf("%v\n%s", err, g.err.String())
	}
	g.expect(fdpass.Ready{})
	return g, hello
}

func launch(t *testing.T, program string) *generation {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the Python example cannot be run")
	}
	conn, theirs, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	g := &generation{t: t, conn: conn, stats: make(map[string]fdpass.ListenerStats), told: make(map[string]int)}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	g.cmd = exec.Command(python, program)
	g.cmd.Env = append(os.Environ(), fdpass.EnvFD+"=3", "PYTHONDONTWRITEBYTECODE=1")
	g.cmd.ExtraFiles = []*os.File{theirs}
	g.cmd.Stderr = &g.err
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	return g
}

// stop ends a child that a failed test left behind.
func (g *generation) stop() {
	if !g.ended {
		g.cmd.Process.Kill()
		g.cmd.Wait()
	}
}

// wait returns how the child ended.
func (g *generation) wait() error {
	g.t.Helper()
	timer := time.AfterFunc(patience, func() { g.cmd.Process.Kill() })
	defer timer.Stop()
	g.ended = true
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, g.err.String())
	}
	return nil
}

func (g *generation) send(m fdpass.Message) {
	g.t.Helper()
	if err := g.conn.Send(m); err != nil {
		g.t.Fatal(err)
	}
}

// receive returns the next message that is not about statistics.
func (g *generation) receive() fdpass.Message {
	g.t.Helper()
	for {
		m, _, err := g.conn.Receive()
		if err != nil {
			g.t.Fatalf("%v\n%s", err, g.err.String())
		}
		s, ok := m.(fdpass.Stats)
		if !ok {
			return m
		}
		g.keep(s)
	}
}

func (g *generation) keep(s fdpass.Stats) {
	for _, l := range s.Listeners {
		g.stats[l.Name] = l
		g.told[l.Name]++
	}
}

// statsUntil receives statistics, and nothing else, until done, and returns how
// many messages those were.
func (g *generation) statsUntil(what string, done func() bool) (messages int) {
	g.t.Helper()
	for ; !done(); messages++ {
		m, _, err := g.conn.Receive()
		s, ok := m.(fdpass.Stats)
		if err != nil || !ok {
			g.t.Fatalf("%#v, %v before %s\n%s", m, err, what, g.err.String())
		}
		g.keep(s)
	}
	return messages
}

func (g *generation) expect(want fdpass.Message) {
	g.t.Helper()
	if m := g.receive(); m != want {
		g.t.Fatalf("got %#v, want %#v", m, want)
	}
}

// listen opens a listener as a raw descriptor, as a supervisor does.
func listen(t *testing.T, name string) fdpass.Listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		unix.Listen(fd, 64),
	); err != nil {
		t.Fatal(err)
	}
	l, err := fdpass.Describe(name, fd)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// queued is the number of connections that wait to be accepted.
func queued(t *testing.T, l fdpass.Listener) int {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(l.FD, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Unacked)
}

func dial(t *testing.T, l fdpass.Listener) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", l.Address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// echo sends a word and wants it back.
func echo(t *testing.T, c net.Conn, word string) {
	t.Helper()
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(word))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != word {
		t.Fatalf("got %q, %v", back, err)
	}
}

// checkListener: a child leaves the shared socket as it found it.
func checkListener(t *testing.T, l fdpass.Listener) {
	t.Helper()
	if err := l.Verify(); err != nil {
		t.Error(err)
	}
	flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags of the listener are %#x, %v", flags, err)
	}
}
