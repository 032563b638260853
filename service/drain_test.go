package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A rawClient speaks HTTP/1.1 by hand, so that it sees what a server does to
// its connection.
type rawClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func rawDial(t *testing.T, a net.Addr) *rawClient {
	t.Helper()
	c := dial(t, a)
	return &rawClient{t, c, bufio.NewReader(c)}
}

func (c *rawClient) write(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a response and reports whether it says "Connection: close".
func (c *rawClient) answer(want string) (closing bool) {
	c.t.Helper()
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	if got := mustReadAll(c.t, response.Body); got != want {
		c.t.Fatalf("answer %q, want %q", got, want)
	}
	return response.Close
}

// ended waits for the server to close the connection.
func (c *rawClient) ended() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("read %q, %v instead of the end", b, err)
	}
}

const getOK = "GET /ok HTTP/1.1\r\nHost: test\r\n\r\n"

// A scene is an HTTP service with handlers that wait to be told.
type scene struct {
	*fakeChild
	f       *fakeSupervisor
	started chan struct{} // one for each request of /slow
	release chan struct{} // lets one of /slow go on
	closed  atomic.Int32  // ConnState's StateClosed, as the program sees it
	hooked  chan struct{} // closed by RegisterOnShutdown
}

func stage(t *testing.T, cfg Config) *scene {
	t.Helper()
	s := &scene{
		f:       supervise(t, tcpPort("http")),
		started: make(chan struct{}, 10),
		release: make(chan struct{}, 10),
		hooked:  make(chan struct{}),
	}
	s.fakeChild = s.f.start(cfg, func(service *Service) error {
		mux := http.NewServeMux()
		mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
		mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
			s.started <- struct{}{}
			<-s.release
			io.WriteString(w, "slow")
		})
		mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			s.started <- struct{}{}
			<-service.Draining()
			io.WriteString(w, "end")
		})
		mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
			s.started <- struct{}{}
			<-s.release
			io.WriteString(c, "bye")
		})
		srv := &http.Server{Handler: mux, ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				s.closed.Add(1)
			}
		}}
		srv.RegisterOnShutdown(func() { close(s.hooked) })
		return service.ServeHTTP("http", srv)
	})
	return s
}

func TestRequestInFlightIsAnswered(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	c := rawDial(t, s.f.addr())
	c.write("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
	<-s.started
	s.beginDrain(20*time.Second, false)
	eventually(t, "the intake has stopped", s.service.https[0].draining.Load)
	s.release <- struct{}{}
	if !c.answer("slow") {
		t.Error("a response that began before the drain and was not written yet keeps the connection")
	}
	c.ended()
	if m := s.drained(); m.Cut != 0 || m.Accepted != 1 {
		t.Errorf("drained: %+v", m)
	}
	if s.closed.Load() != 1 {
		t.Error("the program's own ConnState was not called")
	}
	<-s.hooked
}

func TestStreamLearnsOfTheDrain(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	c := rawDial(t, s.f.addr())
	c.write("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
	<-s.started
	s.beginDrain(20*time.Second, false)
	c.answer("end") // its header was written before the drain
	c.ended()
	s.drained()
}

func TestIdleConnectionHearsOfTheDrainWithItsNextRequest(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: time.Hour})
	c := rawDial(t, s.f.addr())
	c.write(getOK)
	if c.answer("ok") {
		t.Error("closes before the drain")
	}
	s.pause()
	c.write(getOK)
	if c.answer("ok") {
		t.Error("a paused service sends its clients away")
	}
	s.beginDrain(20*time.Second, false)
	eventually(t, "the intake has stopped", s.service.https[0].draining.Load)
	c.write(getOK)
	if !c.answer("ok") {
		t.Error("keeps the connection while draining")
	}
	c.ended()
	s.drained()
}

func TestSilentConnectionsAreClosedLast(t *testing.T) {
	t.Parallel()
	const idle = 300 * time.Millisecond
	s := stage(t, Config{IdleTimeout: idle})
	var silent []*rawClient
	for range 3 {
		c := rawDial(t, s.f.addr())
		c.write(getOK)
		c.answer("ok")
		silent = append(silent, c)
	}
	silent = append(silent, rawDial(t, s.f.addr())) // has never said anything
	eventually(t, "all are accepted", func() bool { return s.service.accepted() == 4 })
	start := time.Now()
	s.beginDrain(20*time.Second, false)
	for _, c := range silent {
		c.ended()
	}
	if took := time.Since(start); took < idle {
		t.Errorf("closed after %v, before the idle timeout", took)
	}
	if m := s.drained(); m.Cut != 0 {
		t.Errorf("%d silent connections counted as cut", m.Cut)
	}
}

func TestIdleConnectionsDoNotOutlastTheDeadline(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: time.Hour})
	c := rawDial(t, s.f.addr())
	c.write(getOK)
	c.answer("ok")
	s.beginDrain(300*time.Millisecond, false)
	c.ended()
	if m := s.drained(); m.Cut != 0 {
		t.Errorf("an idle connection counts as cut")
	}
}

// TestHalfARequestIsWaitedFor: the bytes that came are a request on its way, on
// a new connection as on one that was idle.
func TestHalfARequestIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, used := range []bool{false, true} {
		s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
		c := rawDial(t, s.f.addr())
		if used {
			c.write(getOK)
			c.answer("ok")
		}
		c.write(getOK[:20])
		eventually(t, "half a request is read", func() bool {
			open := s.service.endpoints[0].listener.conns.open()
			return len(open) == 1 && open[0].reads.Load() > open[0].mark.Load()
		})
		s.beginDrain(20*time.Second, false)
		<-s.service.Draining()
		wait(200 * time.Millisecond)
		c.write(getOK[20:])
		if !c.answer("ok") {
			t.Error("keeps the connection")
		}
		c.ended()
		s.drained()
	}
}

func TestHijackedConnectionIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	c := rawDial(t, s.f.addr())
	c.write("GET /hijack HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	<-s.started
	s.beginDrain(20*time.Second, false)
	<-s.hooked // only the hijacked one is left: RegisterOnShutdown tells it
	wait(100 * time.Millisecond)
	s.release <- struct{}{}
	if got := mustReadAll(t, c.r); !strings.HasSuffix(got, "bye") {
		t.Errorf("the hijacked connection got %q", got)
	}
	s.drained()
}

func TestDeadlineCutsAndCounts(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	for range 3 {
		c := rawDial(t, s.f.addr())
		c.write("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
		<-s.started
	}
	start := time.Now()
	s.beginDrain(200*time.Millisecond, false)
	if m := s.drained(); m.Cut != 3 {
		t.Errorf("cut %d connections, want 3", m.Cut)
	}
	if took := time.Since(start); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("the drain took %v", took)
	}
	for range 3 {
		s.release <- struct{}{}
	}
}

func TestSupervisorMayShortenADrain(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	c := rawDial(t, s.f.addr())
	c.write("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
	<-s.started
	s.cancel() // begins a drain of 30 s
	<-s.service.Draining()
	s.beginDrain(50*time.Millisecond, false)
	if m := s.drained(); m.Cut != 1 {
		t.Errorf("cut %d connections", m.Cut)
	}
	s.release <- struct{}{}
}

// TestFinalDrainEmptiesTheQueue: with nobody else to accept, what waits in the
// queue is served, and would be reset otherwise.
func TestFinalDrainEmptiesTheQueue(t *testing.T) {
	t.Parallel()
	for _, final := range []bool{true, false} {
		s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
		s.pause()
		var queued []*rawClient
		for range 20 {
			c := rawDial(t, s.f.addr())
			c.write(getOK)
			queued = append(queued, c)
		}
		s.beginDrain(20*time.Second, final)
		m := s.drained()
		if final && m.Accepted != 20 || !final && m.Accepted != 0 {
			t.Errorf("final %v: accepted %d of 20", final, m.Accepted)
		}
		if !final { // another generation takes them
			s.f.start(Config{}, serveHTTPWith(func() *http.Server {
				return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
			}))
		}
		for _, c := range queued {
			c.answer("ok")
		}
	}
}

func TestDrainBeforeRunEndsIt(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).join(Config{})
	if err := serveEcho(c.service); err != nil {
		t.Fatal(err)
	}
	c.beginDrain(time.Second, false)
	<-c.service.Draining()
	c.run()
	expectReady(c)
	c.drained()
}

func TestServeContextEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("raw"))
	var early, late atomic.Bool
	c := f.start(Config{}, func(s *Service) error {
		return s.Serve("raw", func(ctx context.Context, c net.Conn) {
			<-s.Draining()
			early.Store(ctx.Err() != nil)
			<-ctx.Done()
			late.Store(true)
		})
	})
	dial(t, f.addr())
	eventually(t, "the connection is accepted", func() bool { return c.service.accepted() == 1 })
	c.beginDrain(100*time.Millisecond, false)
	if m := c.drained(); m.Cut != 1 {
		t.Errorf("cut %d", m.Cut)
	}
	if early.Load() || !late.Load() {
		t.Errorf("the context ended early: %v, at the deadline: %v", early.Load(), late.Load())
	}
}

func TestCleanupRunsInReverseWithADeadlineEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(Config{CleanupTimeout: time.Second, Logger: quietLog(t)})
		var mu sync.Mutex // a hook that is left behind runs beside the next
		var order []string
		var took []time.Duration
		last := time.Now()
		add := func(name string, f func(context.Context) error) {
			s.OnCleanup(name, func(ctx context.Context) error {
				mu.Lock()
				order = append(order, name)
				took = append(took, time.Since(last))
				last = time.Now()
				mu.Unlock()
				return f(ctx)
			})
		}
		done := make(chan struct{})
		add("database", func(context.Context) error { return nil })
		add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		add("stubborn", func(context.Context) error { <-done; return nil })
		add("broken", func(context.Context) error { return errors.New("disk full") })
		err := s.cleanup()
		if got := fmt.Sprint(order, took); got != "[broken stubborn slow database] [0s 0s 2s 1s]" {
			t.Errorf("hooks ran as %s", got)
		}
		for _, want := range []string{"cannot clean up broken: disk full", "stubborn: it did not return within 1s", "slow: context deadline"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		close(done)
	})
}

func TestServerThatCannotAcceptEndsTheService(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	c := f.start(Config{}, serveEcho)
	shutdownListener(t, f.listeners[0].FD)
	m := expect[fdpassFailed](c)
	if !strings.Contains(m.Reason, `listener "echo"`) {
		t.Errorf("failed: %q", m.Reason)
	}
	if err := <-c.ended; err == nil {
		t.Error("Run returned no error")
	}
}

// TestMayClose: when closing a connection takes nothing from its client.
func TestMayClose(t *testing.T) {
	now := time.Now()
	view := &sweep{now: now, began: now.Add(-10 * time.Second), idle: 5 * time.Second}
	conn := func(state http.ConnState, edit func(*tracked)) *tracked {
		t := &tracked{accepted: now.Add(-time.Minute)}
		t.note(nil, state)
		t.idleAt.Store(now.Add(-time.Minute).UnixNano())
		if edit != nil {
			edit(t)
		}
		return t
	}
	for _, test := range []struct {
		what string
		t    *tracked
		want bool
	}{
		{"idle for long", conn(http.StateIdle, nil), true},
		{"idle since just now", conn(http.StateIdle, func(t *tracked) { t.idleAt.Store(now.UnixNano()) }), false},
		{"idle, a request begun", conn(http.StateIdle, func(t *tracked) { t.reads.Add(1) }), false},
		{"active", conn(http.StateActive, nil), false},
		{"hijacked", conn(http.StateHijacked, nil), false},
		{"new and silent", conn(http.StateNew, nil), true},
		{"new, a request begun", conn(http.StateNew, func(t *tracked) { t.reads.Add(1) }), false},
		{"new, accepted just now", conn(http.StateNew, func(t *tracked) { t.accepted = now }), false},
		{"HTTP/2, not told yet", http2Conn(conn(http.StateIdle, nil), time.Time{}), false},
		{"HTTP/2, told just now", http2Conn(conn(http.StateIdle, nil), now), false},
		{"HTTP/2, told for long", http2Conn(conn(http.StateIdle, func(t *tracked) { t.reads.Add(3) }), now.Add(-goAwayGrace)), true},
		{"HTTP/2, streams open", http2Conn(conn(http.StateActive, nil), now.Add(-time.Minute)), false},
	} {
		if got := test.t.mayClose(view); got != test.want {
			t.Errorf("%s: mayClose = %v", test.what, got)
		}
	}
}

func http2Conn(t *tracked, told time.Time) *tracked {
	g := t.expectHTTP2()
	g.http2.Store(true)
	if !told.IsZero() {
		g.told.Store(told.UnixNano())
	}
	return t
}

func TestAcceptLoopBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(Config{Logger: quietLog(t)})
		l := &brokeListener{left: 12, done: make(chan struct{})}
		start := time.Now()
		var loop sync.WaitGroup
		loop.Go(func() { _ = s.acceptLoop(l, echo) })
		<-l.done
		// 5, 10, ... 640 ms, then a second each.
		if took := time.Since(start); took != 1275*time.Millisecond+4*time.Second {
			t.Errorf("12 failures took %v", took)
		}
		loop.Wait()
	})
}
