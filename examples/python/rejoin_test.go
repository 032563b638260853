//go:build linux

package python

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

const token = "00112233445566778899aabbccddeeff"

// startAt runs echo.py, which knows where the next supervisor will be.
func startAt(t *testing.T, path string, listeners ...fdpass.Listener) *generation {
	t.Helper()
	g, _ := startWith(t, "echo.py", fdpass.Welcome{StatsMS: 20, Rendezvous: path, Token: token}, listeners...)
	return g
}

func returnTo(t *testing.T, path string) *fdpass.Rendezvous {
	t.Helper()
	r, err := fdpass.ListenRendezvous(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	// Accept has no deadline: a child that does not come ends it.
	timer := time.AfterFunc(patience, func() { r.Close() })
	t.Cleanup(func() { timer.Stop() })
	return r
}

// visit waits for the child to connect.
func (g *generation) visit(r *fdpass.Rendezvous) *fdpass.Conn {
	g.t.Helper()
	c, peer, err := r.Accept()
	if err != nil {
		g.t.Fatalf("%v\n%s", err, g.err.String())
	}
	g.t.Cleanup(func() { c.Close() })
	unix.Close(peer.PIDFD)
	if peer.PID != g.cmd.Process.Pid {
		g.t.Errorf("process %d came instead of %d", peer.PID, g.cmd.Process.Pid)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func admit(r fdpass.Rejoin) (fdpass.Welcome, error) {
	if !r.Proves(token) {
		return fdpass.Welcome{}, errors.New("wrong token")
	}
	return fdpass.Welcome{Service: r.Service, Generation: r.Generation, StatsMS: 20}, nil
}

func TestEchoRejoins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.sock")
	ls := make([]fdpass.Listener, 60)
	for i := range ls {
		ls[i] = listen(t, fmt.Sprintf("echo-%d", i))
		ls[i].Kept = i == 1
	}
	g := startAt(t, path, ls...)
	open := dial(t, ls[0])
	echo(t, open, "hello")
	g.send(fdpass.Pause{ID: 1})
	g.expect(fdpass.Paused{ID: 1, Accepted: 1})
	r := returnTo(t, path)
	g.conn.Close()

	g.visit(r).Close() // that supervisor is killed as well
	g.conn = g.visit(r)
	said, back, err := fdpass.TakeBack(g.conn, admit)
	if err != nil {
		t.Fatalf("%v\n%s", err, g.err.String())
	}
	for i, l := range back {
		unix.Close(l.FD)
		if l.FD = ls[i].FD; l != ls[i] {
			t.Errorf("got %+v, want %+v", l, ls[i])
		}
	}
	if !said.Ready || said.Draining || len(back) != len(ls) {
		t.Errorf("came back as %+v with %d listeners", said, len(back))
	}
	echo(t, open, "still here")
	echo(t, dial(t, ls[1]), "it was paused no more")
	g.send(fdpass.Pause{ID: 1})
	g.expect(fdpass.Paused{ID: 1, Accepted: 2})
	g.send(fdpass.Drain{ID: 2})
	g.expect(fdpass.Drained{ID: 2, Accepted: 2, Cut: 2})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	for _, l := range ls {
		checkListener(t, l)
	}
}

func TestEchoRejoinsWhileItDrains(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.sock")
	l := listen(t, "echo")
	g := startAt(t, path, l)
	open := dial(t, l)
	echo(t, open, "hello")
	g.send(fdpass.Drain{ID: 3, DeadlineMS: patience.Milliseconds()})
	g.send(fdpass.Pause{ID: 4})
	if _, ok := g.receive().(fdpass.Error); !ok {
		t.Error("it does not drain")
	}
	g.conn.Close()
	g.conn = g.visit(returnTo(t, path))
	said, back, err := fdpass.TakeBack(g.conn, admit)
	if err != nil || !said.Draining || len(back) != 0 {
		t.Fatalf("came back as %+v with %v, %v\n%s", said, back, err, g.err.String())
	}
	g.send(fdpass.Drain{ID: 9, DeadlineMS: patience.Milliseconds()})
	echo(t, open, "still here")
	open.Close()
	g.expect(fdpass.Drained{ID: 9, Accepted: 1})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
}

func TestEchoSaysOnceWhyItCannotRejoin(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.sock")
	l := listen(t, "echo")
	g := startAt(t, path, l)
	g.conn.Close()
	r := returnTo(t, path)
	for range 2 {
		c := g.visit(r)
		if _, _, err := fdpass.TakeBack(c, func(fdpass.Rejoin) (fdpass.Welcome, error) {
			return fdpass.Welcome{}, errors.New("not today")
		}); err == nil {
			t.Error("no error")
		}
		c.Close()
	}
	g.conn = g.visit(r)
	if _, back, err := fdpass.TakeBack(g.conn, admit); err != nil || len(back) != 1 {
		t.Fatalf("%v, %v\n%s", back, err, g.err.String())
	} else {
		unix.Close(back[0].FD)
	}
	g.send(fdpass.Drain{ID: 1})
	g.expect(fdpass.Drained{ID: 1})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	if said := g.err.String(); strings.Count(said, "not today") != 1 || strings.Contains(said, token) {
		t.Errorf("it said %s", said)
	}
}

func TestEchoEndsWhenItIsDismissed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "r.sock")
	l := listen(t, "echo")
	g := startAt(t, path, l)
	open := dial(t, l)
	echo(t, open, "hello")
	r := returnTo(t, path)
	g.conn.Close()
	c := g.visit(r)
	if _, _, err := fdpass.TakeBack(c, func(fdpass.Rejoin) (fdpass.Welcome, error) {
		return fdpass.Welcome{}, &fdpass.Dismissal{Reason: "others serve"}
	}); err == nil {
		t.Error("no error")
	}
	c.Close()
	echo(t, open, "to the end")
	open.Close()
	if err := g.wait(); err != nil || !strings.Contains(g.err.String(), "others serve") {
		t.Errorf("%v: %s", err, g.err.String())
	}
}

func TestEchoEndsWhenTheServiceWasStopped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g := startAt(t, filepath.Join(dir, "r.sock"), listen(t, "echo"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	g.conn.Close()
	if err := g.wait(); err != nil || !strings.Contains(g.err.String(), "the service was stopped") {
		t.Errorf("%v: %s", err, g.err.String())
	}
}

// What waits at a listener that the service manager holds too is left to it.
func TestEchoLeavesAKeptQueue(t *testing.T) {
	t.Parallel()
	kept, own := listen(t, "kept"), listen(t, "own")
	kept.Kept = true
	g, _ := start(t, "echo.py", kept, own)
	g.send(fdpass.Pause{ID: 1})
	g.expect(fdpass.Paused{ID: 1})
	dial(t, kept)
	c := dial(t, own)
	g.send(fdpass.Drain{ID: 2, DeadlineMS: patience.Milliseconds(), Final: true})
	echo(t, c, "at last")
	c.Close()
	g.expect(fdpass.Drained{ID: 2, Accepted: 1})
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	if n := queued(t, kept); n != 1 {
		t.Errorf("%d connections wait, want 1", n)
	}
}
