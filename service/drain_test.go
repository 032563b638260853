package service

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
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
	// onClosed, if set, holds the program's ConnState up for StateClosed.
	onClosed chan struct{}
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
				if s.onClosed != nil {
					<-s.onClosed
				}
				s.closed.Add(1)
			}
		}}
		srv.RegisterOnShutdown(func() { close(s.hooked) })
		return service.ServeHTTP("http", srv)
	})
	return s
}

// stillDraining fails if the service ends within a while.
func (s *scene) stillDraining() {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		s.t.Error("the service has ended too early")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestProgramHearsOfEveryEnd: the drain is not over before the program's
// ConnState has returned for the last connection.
func TestProgramHearsOfEveryEnd(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	s.onClosed = make(chan struct{})
	c := rawDial(t, s.f.addr())
	c.write("GET /ok HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
	c.answer("ok")
	c.ended()
	s.beginDrain(20*time.Second, false)
	s.stillDraining()
	close(s.onClosed)
	s.drained()
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
	s.stillDraining()
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
