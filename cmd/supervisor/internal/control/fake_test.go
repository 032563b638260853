package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
)

// fake is a Supervisor that does as it is told.
type fake struct {
	steps  []upgrade.Step
	report upgrade.Report
	err    error         // of Upgrade and Rollback
	block  chan struct{} // if set, attempts and Stop wait for it, or for ctx
	status upgrade.Status

	mu       sync.Mutex
	kind     upgrade.Kind
	asked    upgrade.Request
	stops    []bool
	gaveUp   bool
	statuses int
}

func (f *fake) Upgrade(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error) {
	return f.attempt(ctx, upgrade.KindUpgrade, r, progress)
}

func (f *fake) Rollback(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error) {
	return f.attempt(ctx, upgrade.KindRollback, r, progress)
}

func (f *fake) attempt(ctx context.Context, kind upgrade.Kind, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error) {
	f.mu.Lock()
	f.kind, f.asked = kind, r
	f.mu.Unlock()
	for _, step := range f.steps {
		progress(step)
	}
	if err := f.wait(ctx); err != nil {
		return upgrade.Report{}, err
	}
	return f.report, f.err
}

func (f *fake) wait(ctx context.Context) error {
	if f.block == nil {
		return nil
	}
	select {
	case <-f.block:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		f.gaveUp = true
		return ctx.Err()
	}
}

func (f *fake) Await(context.Context, uint64, func(upgrade.Step)) (upgrade.Report, error) {
	if f.err != nil {
		return upgrade.Report{}, f.err
	}
	return upgrade.Report{}, upgrade.ErrUnknownRequest
}

func (f *fake) Stop(ctx context.Context, now bool) error {
	f.mu.Lock()
	f.stops = append(f.stops, now)
	f.mu.Unlock()
	if err := f.wait(ctx); err != nil {
		return err
	}
	return f.err
}

func (f *fake) Status(context.Context) (upgrade.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses++
	if f.err != nil {
		return upgrade.Status{}, f.err
	}
	return f.status, nil
}

func (f *fake) request() (upgrade.Kind, upgrade.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kind, f.asked
}

var errEnded = errors.New("the supervisor has ended")

// serve answers for f on a Unix socket until the test ends, and returns the
// socket's path.
func serve(t testing.TB, f *fake) string {
	return serveAs(t, f, nil)
}

func serveAs(t testing.TB, f *fake, peerOf func(net.Conn) (rundir.Peer, error)) string {
	t.Helper()
	_, path := serveConfig(t, f, func(c *ServerConfig) { c.PeerOf = peerOf })
	return path
}

// serveConfig is serve with more to say; it returns the server as well.
func serveConfig(t testing.TB, f *fake, change func(*ServerConfig)) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, f)
	change(&cfg)
	s := NewServer(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, path
}

func testConfig(t testing.TB, s Supervisor) ServerConfig {
	return ServerConfig{
		Supervisor: s,
		Version:    Version{Service: "web", PID: 7, Version: "v1", Go: "go1", Platform: "linux/any", Protocol: 1},
		Metrics:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a_metric 1\n") }),
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// ask sends one request over the socket and returns the answer with its body.
func ask(t testing.TB, socket, method, path, body string) (*http.Response, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Body = io.NopCloser(newReader(body))
		request.ContentLength = int64(len(body))
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}

func ownUID() int { return os.Geteuid() }
