package service

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// testToken is the secret of a generation, and easy to find in a log.
func testToken(generation int) string { return fmt.Sprintf("5ec2e7c0ffee%08x", generation) }

// withRendezvous has the generations know where the next supervisor will be.
func (f *fakeSupervisor) withRendezvous() *fakeSupervisor {
	f.t.Helper()
	dir, err := os.MkdirTemp("", "rendezvous")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { os.RemoveAll(dir) })
	f.rendezvous = filepath.Join(dir, "r.sock")
	return f
}

// returns is the next supervisor's rendezvous.
func (f *fakeSupervisor) returns() *fdpass.Rendezvous {
	f.t.Helper()
	r, err := fdpass.ListenRendezvous(f.rendezvous)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { r.Close() })
	return r
}

// admit admits whoever knows the token.
func (f *fakeSupervisor) admit(r fdpass.Rejoin) (fdpass.Welcome, error) {
	if !r.Proves(testToken(r.Generation)) {
		return fdpass.Welcome{}, fmt.Errorf("generation %d does not know its token", r.Generation)
	}
	return fdpass.Welcome{
		Service: "test", Generation: r.Generation, StatsMS: f.stats.Milliseconds(),
		Rendezvous: f.rendezvous, Token: testToken(r.Generation),
	}, nil
}

// visit waits for the next connection to a rendezvous.
func visit(t *testing.T, r *fdpass.Rendezvous) *fdpass.Conn {
	t.Helper()
	type visitor struct {
		c    *fdpass.Conn
		peer fdpass.Peer
		err  error
	}
	came := make(chan visitor, 1)
	go func() {
		c, peer, err := r.Accept()
		came <- visitor{c, peer, err}
	}()
	select {
	case v := <-came:
		if v.err != nil {
			t.Fatal(v.err)
		}
		closeFD(v.peer.PIDFD)
		t.Cleanup(func() { v.c.Close() })
		deadline := time.Now().Add(15 * time.Second)
		if err := errors.Join(v.c.SetReadDeadline(deadline), v.c.SetWriteDeadline(deadline)); err != nil {
			t.Fatal(err)
		}
		return v.c
	case <-time.After(15 * time.Second):
		r.Close()
		<-came
		t.Fatal("nobody came to the rendezvous")
		return nil
	}
}

// comesBack takes the child back: its channel is the new connection. It gives
// the listeners.
func (c *fakeChild) comesBack(t *testing.T, f *fakeSupervisor, r *fdpass.Rendezvous) (fdpass.Rejoin, []fdpass.Listener) {
	t.Helper()
	conn := visit(t, r)
	said, ls, err := fdpass.TakeBack(conn, f.admit)
	if err != nil {
		t.Fatal(err)
	}
	c.conn = conn
	c.nextID = 0 // it is another supervisor
	t.Cleanup(func() { closeGiven(ls) })
	return said, ls
}

func closeGiven(ls []fdpass.Listener) {
	for _, l := range ls {
		closeFD(l.FD)
	}
}

// dies is what the children see of a supervisor that is killed.
func (c *fakeChild) dies() {
	c.t.Helper()
	if err := c.conn.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// A logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Count(b.text.Bytes(), []byte(s))
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
}
