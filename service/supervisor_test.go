package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
)

// quietLog keeps the log of a test to its failures.
func quietLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// A fakeSupervisor owns listeners and hands them to services in this process.
type fakeSupervisor struct {
	t          testing.TB
	listeners  []fdpass.Listener
	sockets    []*listen.Socket
	probe      int
	probePath  string
	stats      time.Duration
	generation int
	rendezvous string // where the next one will be; empty: nowhere
}

// supervise opens the listeners of specs, "http=tcp://127.0.0.1:0" for instance.
func supervise(t testing.TB, specs ...string) *fakeSupervisor {
	t.Helper()
	f := &fakeSupervisor{t: t, probe: -1}
	parsed, err := listen.ParseSpecs(specs)
	if err != nil {
		t.Fatal(err)
	}
	if f.sockets, err = listen.OpenAll(t.Context(), parsed); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.sockets {
		l, err := fdpass.Describe(s.Name, s.FD)
		if err != nil {
			t.Fatal(err)
		}
		f.listeners = append(f.listeners, l)
	}
	t.Cleanup(func() {
		for _, s := range f.sockets {
			s.Close()
		}
	})
	return f
}

// withProbe gives every generation the same probe socket.
func (f *fakeSupervisor) withProbe() *fakeSupervisor {
	f.t.Helper()
	f.probePath = filepath.Join(f.t.TempDir(), "probe")
	s, err := listen.Open(f.t.Context(), listen.Spec{Name: "probe", Network: "unix", Address: f.probePath})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { s.Close() })
	f.probe = s.FD
	return f
}

// addr is the address of the only, or first, listener.
func (f *fakeSupervisor) addr() net.Addr {
	l := f.listeners[0]
	if strings.HasPrefix(l.Network, "unix") {
		return &net.UnixAddr{Net: l.Network, Name: l.Address}
	}
	a, err := net.ResolveTCPAddr("tcp", f.sockets[0].Addr)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// A fakeChild is one generation as the supervisor sees it.
type fakeChild struct {
	t       testing.TB
	conn    *fdpass.Conn
	hello   fdpass.Hello
	service *Service
	ended   chan error // of Run
	cancel  context.CancelFunc
	nextID  uint64
	stats   map[string]fdpass.ListenerStats // the last ones received
}

// channel makes a channel and returns the child's end as a Conn.
func channel(t testing.TB) (parent, child *fdpass.Conn) {
	t.Helper()
	parent, file, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parent.Close() })
	defer file.Close()
	fd, err := duplicate(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if child, err = fdpass.NewConn(fd); err != nil {
		t.Fatal(err)
	}
	return parent, child
}

// join makes a service of this process; it is not running yet.
func (f *fakeSupervisor) join(cfg Config) *fakeChild {
	f.t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quietLog(f.t)
	}
	parent, end := channel(f.t)
	f.generation++
	c := &fakeChild{t: f.t, conn: parent, ended: make(chan error, 1), stats: map[string]fdpass.ListenerStats{}}
	joined := make(chan error, 1)
	go func() {
		var err error
		c.service, err = join(end, cfg)
		joined <- err
	}()
	w := fdpass.Welcome{Service: "test", Generation: f.generation, StatsMS: f.stats.Milliseconds()}
	if f.rendezvous != "" {
		w.Rendezvous, w.Token = f.rendezvous, testToken(f.generation)
	}
	hello, offerErr := fdpass.Offer(parent, w, f.probe, f.listeners)
	if offerErr != nil {
		parent.Close()
	}
	if err := errors.Join(<-joined, offerErr); err != nil {
		f.t.Fatal(err)
	}
	c.hello = hello
	return c
}

// start joins, registers with build, runs, and waits for ready.
func (f *fakeSupervisor) start(cfg Config, build func(*Service) error) *fakeChild {
	f.t.Helper()
	c := f.join(cfg)
	if err := build(c.service); err != nil {
		f.t.Fatal(err)
	}
	c.run()
	expect[fdpass.Ready](c)
	return c
}

// run runs the service until it drains, at the latest at the end of the test.
func (c *fakeChild) run() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ended <- c.service.Run(ctx)
	}()
	c.t.Cleanup(func() {
		c.service.drain.order(0, false)
		c.service.drain.amend(0, false)
		cancel()
		<-done
	})
}

// expect receives until a message of type M comes; statistics are kept.
func expect[M fdpass.Message](c *fakeChild) M {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	for {
		m, _, err := c.conn.Receive()
		if err != nil {
			var want M
			c.t.Fatalf("no %T: %v", want, err)
		}
		switch m := m.(type) {
		case M:
			return m
		case fdpass.Stats:
			for _, l := range m.Listeners {
				c.stats[l.Name] = l
			}
		default:
			var want M
			c.t.Fatalf("got %#v instead of a %T", m, want)
		}
	}
}

func (c *fakeChild) send(m fdpass.Message) {
	c.t.Helper()
	if err := c.conn.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *fakeChild) pause() fdpass.Paused {
	c.t.Helper()
	c.nextID++
	c.send(fdpass.Pause{ID: c.nextID})
	m := expect[fdpass.Paused](c)
	if m.ID != c.nextID {
		c.t.Fatalf("paused answers %d, not %d", m.ID, c.nextID)
	}
	return m
}

func (c *fakeChild) resume() {
	c.t.Helper()
	c.nextID++
	c.send(fdpass.Resume{ID: c.nextID})
	if m := expect[fdpass.Resumed](c); m.ID != c.nextID {
		c.t.Fatalf("resumed answers %d, not %d", m.ID, c.nextID)
	}
}

// beginDrain asks for a drain and does not wait.
func (c *fakeChild) beginDrain(deadline time.Duration, final bool) {
	c.t.Helper()
	c.nextID++
	c.send(fdpass.Drain{ID: c.nextID, DeadlineMS: deadline.Milliseconds(), Final: final})
}

// drained waits for the end of a drain and of Run, which must have gone well.
func (c *fakeChild) drained() fdpass.Drained {
	c.t.Helper()
	m := expect[fdpass.Drained](c)
	if m.ID != c.nextID {
		c.t.Fatalf("drained answers %d, not %d", m.ID, c.nextID)
	}
	if err := <-c.ended; err != nil {
		c.t.Fatalf("Run: %v", err)
	}
	if _, _, err := c.conn.Receive(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("after the end the channel gives %v", err)
	}
	return m
}

// tcpPort returns a spec for a port chosen by the kernel.
func tcpPort(name string) string { return name + "=tcp://127.0.0.1:0" }

func mustReadAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return string(b)
}

func expectReady(c *fakeChild) {
	c.t.Helper()
	expect[fdpass.Ready](c)
}

// receiveStats receives statistics until done.
func receiveStats(c *fakeChild, done func() bool) {
	c.t.Helper()
	for !done() {
		m := expect[fdpass.Stats](c)
		for _, l := range m.Listeners {
			c.stats[l.Name] = l
		}
	}
}
