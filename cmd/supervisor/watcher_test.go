package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/upgrade"
)

func watch(t *testing.T, change func(*config.Config)) *watcher {
	cfg := config.Default()
	cfg.ProbeInterval = config.Duration(time.Millisecond)
	change(&cfg)
	return newWatcher(func() config.Config { return cfg }, func() error { return nil }, nil, nil, func(string, string, string) {}, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func TestWithoutAProbeTheWordIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, func(c *config.Config) {
			c.Settle = config.Duration(time.Second)
			c.ProbeInterval = config.Duration(time.Hour)
		})
		began := time.Now()
		if err := w.Ready(t.Context(), upgrade.Target{}); err != nil || time.Since(began) != 0 {
			t.Errorf("ready: %v after %v", err, time.Since(began))
		}
		if _, err := w.Gate(t.Context(), upgrade.Target{}); err != nil || time.Since(began) != time.Second {
			t.Errorf("gate: %v after %v, want the settle window", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := w.Bake(ctx, upgrade.Target{}); err != nil || ctx.Err() == nil {
			t.Errorf("bake: %v before its end", err)
		}
	})
}

func TestProbeNeedsAProbeSocket(t *testing.T) {
	t.Parallel()
	w := watch(t, func(c *config.Config) { c.Probe = "/healthz" })
	for name, look := range map[string]func(context.Context, upgrade.Target) error{"ready": w.Ready, "gate": gateOf(w), "bake": w.Bake} {
		if err := look(t.Context(), upgrade.Target{Generation: 2}); err == nil || !strings.Contains(err.Error(), "probe-command") {
			t.Errorf("%s: error %v, want what to do instead", name, err)
		}
	}
}

func gateOf(w *watcher) func(context.Context, upgrade.Target) error {
	return func(ctx context.Context, t upgrade.Target) error {
		_, err := w.Gate(ctx, t)
		return err
	}
}

// health serves a probe socket that is sick while the flag is set.
func healthSocket(t *testing.T, sick *atomic.Bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "sick", http.StatusInternalServerError)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return path
}

func TestSickGeneration(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	target := upgrade.Target{Generation: 2, ProbeSocket: healthSocket(t, &sick)}
	w := watch(t, func(c *config.Config) {
		c.Probe = "/healthz"
		c.Settle, c.GateTimeout = 0, config.Duration(500*time.Millisecond)
	})
	if err := w.Ready(t.Context(), target); err != nil {
		t.Error(err)
	}
	if _, err := w.Gate(t.Context(), target); err != nil {
		t.Error(err)
	}
	sick.Store(true)
	if err := w.Bake(t.Context(), target); err == nil || err.Error() != "is unhealthy: 3 times in a row: probe GET /healthz: status 500 Internal Server Error: sick" {
		t.Errorf("bake: %v", err)
	}
	// The gate gives the reason before the machine would give up without one.
	began := time.Now()
	_, err := w.Gate(t.Context(), target)
	if err == nil || !strings.Contains(err.Error(), "status 500") || !strings.Contains(err.Error(), "not well for 0s on end within 500ms") || time.Since(began) > patience {
		t.Errorf("gate: %v after %v", err, time.Since(began))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Ready(ctx, target); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "status 500") {
		t.Errorf("ready: %v", err)
	}
}

func TestProbeCommandKnowsItsGeneration(t *testing.T) {
	t.Parallel()
	w := watch(t, func(c *config.Config) { c.ProbeCommand = []string{"sh", "-c", "exit"} })
	w.env = []string{"PATH=/bin"}
	got := w.probeEnv(upgrade.Target{Generation: 4, PID: 77, ProbeSocket: "/p.sock", Env: []string{"A=1"}})
	want := []string{"PATH=/bin", "A=1", "SUPERVISOR_GENERATION=4", "SUPERVISOR_PID=77", "SUPERVISOR_PROBE_SOCKET=/p.sock"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := w.Ready(t.Context(), upgrade.Target{Dir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

func TestMetricsOverTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended, served := make(chan struct{}), make(chan error, 1)
	scrapes := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	go func() { served <- serveMetrics(l, scrapes, ended) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for path, want := range map[string]int{"/metrics": 204, "/v1/status": 404, "/": 404} {
		response, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, response.Status, want)
		}
	}
	if response, err := client.Post("http://"+l.Addr().String()+"/metrics", "", nil); err != nil || response.StatusCode != 405 {
		t.Errorf("POST: %v %v, want 405", response, err)
	} else {
		response.Body.Close()
	}
	close(ended)
	if err := <-served; err != nil {
		t.Error(err)
	}
}
