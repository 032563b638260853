package control

import (
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// A stage is a supervisor whose requests do what the test says. Several servers
// may answer for it, one after the other.
type stage struct {
	fake
	mu       sync.Mutex
	change   sync.Cond
	last     uint64
	audience map[uint64][]*watcher
	reports  map[uint64]upgrade.Report
	left     int // who went before the report
}

// watcher is one who waits for a report.
type watcher struct {
	steps  chan upgrade.Step
	report chan upgrade.Report
}

func newStage() *stage {
	s := &stage{audience: map[uint64][]*watcher{}, reports: map[uint64]upgrade.Report{}}
	s.fake.status = running()
	s.change.L = &s.mu
	return s
}

// Upgrade takes a request and tells its first step.
func (s *stage) Upgrade(ctx context.Context, _ upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error) {
	s.mu.Lock()
	s.last++
	n := s.last
	w := s.attend(n)
	w.steps <- stepOf(n, 0)
	s.mu.Unlock()
	return s.wait(ctx, n, w, progress)
}

// Await waits for a report of a request that was taken.
func (s *stage) Await(ctx context.Context, n uint64, progress func(upgrade.Step)) (upgrade.Report, error) {
	s.mu.Lock()
	report, done := s.reports[n]
	if done || n > s.last {
		s.mu.Unlock()
		if done {
			return report, nil
		}
		return upgrade.Report{}, upgrade.ErrUnknownRequest
	}
	w := s.attend(n)
	s.mu.Unlock()
	return s.wait(ctx, n, w, progress)
}

func (s *stage) attend(n uint64) *watcher {
	w := &watcher{make(chan upgrade.Step, 100), make(chan upgrade.Report, 1)}
	s.audience[n] = append(s.audience[n], w)
	s.change.Broadcast()
	return w
}

func (s *stage) wait(ctx context.Context, n uint64, w *watcher, progress func(upgrade.Step)) (upgrade.Report, error) {
	for {
		select {
		case step := <-w.steps:
			progress(step)
		case report := <-w.report:
			for len(w.steps) > 0 {
				progress(<-w.steps)
			}
			return report, nil
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			s.audience[n] = slices.DeleteFunc(s.audience[n], func(other *watcher) bool { return other == w })
			s.left++
			s.change.Broadcast()
			for len(w.steps) > 0 {
				progress(<-w.steps)
			}
			return upgrade.Report{}, ctx.Err()
		}
	}
}

// tell tells step i of request n to the one who waits for it, or who will.
func (s *stage) tell(n uint64, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until(func() bool { return len(s.audience[n]) > 0 })
	for _, w := range s.audience[n] {
		w.steps <- stepOf(n, i)
	}
}

// finish gives the report of request n.
func (s *stage) finish(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[n] = reportOf(n)
	for _, w := range s.audience[n] {
		w.report <- s.reports[n]
	}
	delete(s.audience, n)
}

// requests waits until there have been n requests.
func (s *stage) requests(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until(func() bool { return s.last == n })
}

// gone waits until n have left before the report.
func (s *stage) gone(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until(func() bool { return s.left == n })
}

// until waits for what the test cannot go on without; a test that hangs here
// shows where.
func (s *stage) until(done func() bool) {
	for !done() {
		s.change.Wait()
	}
}

var stageBegan = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func stepOf(n uint64, i int) upgrade.Step {
	elapsed := time.Duration(i) * time.Second
	return upgrade.Step{Request: n, Time: stageBegan.Add(elapsed), ElapsedSeconds: elapsed.Seconds(), Phase: upgrade.PhaseDrain, Text: "step"}
}

func reportOf(n uint64) upgrade.Report {
	return upgrade.Report{Request: n, Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Reason: "fine", Started: stageBegan, Drained: true}
}

// theatre are servers that follow each other at one socket, as the processes
// of a supervisor that is replaced do.
type theatre struct {
	t      testing.TB
	stage  *stage
	path   string
	socket *os.File // a duplicate of the listening socket
}

func newTheatre(t testing.TB, s *stage) *theatre {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &theatre{t, s, path, socket}
}

// open returns a server that answers at the socket, and what ends it.
func (h *theatre) open(change func(*ServerConfig)) (*Server, func()) {
	h.t.Helper()
	l, err := net.FileListener(h.socket)
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := testConfig(h.t, h.stage)
	if change != nil {
		change(&cfg)
	}
	s := NewServer(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	end := sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what waits is cut
		s.Shutdown(ctx)
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(end)
	if _, err := NewClient(h.path).Version(h.t.Context()); err != nil { // it serves
		h.t.Fatal(err)
	}
	return s, end
}

// dial connects to the socket.
func (h *theatre) dial() net.Conn {
	h.t.Helper()
	conn, err := net.Dial("unix", h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

// visitors are the states of the connections that net/http answers.
func visitors(s *Server) []http.ConnState {
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	return slices.Collect(maps.Values(s.guests.visits))
}
