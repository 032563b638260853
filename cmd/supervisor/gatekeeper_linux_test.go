package main

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// While it is too early to tell whether the candidate finishes anything, what
// the queues object to is still what the gate gives as its reason.
func TestGateTellsOfTheQueuesWhileTheCandidateIsNew(t *testing.T) {
	t.Parallel()
	h, fd, _ := held(t, "tcp://127.0.0.1:0")
	monitor, err := health.NewMonitor(health.MonitorConfig{Listeners: []health.Listener{{Name: "http", FD: fd}}})
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	waiting, err := net.Dial("tcp", h.held[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	monitor.Count(1, []health.Count{{Listener: "http", Accepted: 100, Finished: 100, Durations: []uint64{100}}})
	monitor.Count(2, []health.Count{{Listener: "http"}})

	cfg := config.Default()
	cfg.GateTimeout = config.Duration(200 * time.Millisecond) // less than it takes to tell
	w := newWatcher(func() config.Config { return cfg }, nil, func() *health.Monitor { return monitor }, nil, func(step, decision, reason string) {
		if step != "gate" || decision != "shut" || reason != string(health.ReasonStanding) {
			t.Errorf("decided %s %s %s", step, decision, reason)
		}
	}, slog.New(slog.DiscardHandler))
	_, err = w.Gate(t.Context(), upgrade.Target{Generation: 2, Active: 1, Reports: true})
	if err == nil || !strings.Contains(err.Error(), "listener http: ") {
		t.Errorf("gate: %v, want what is the matter with the queue", err)
	}
}

// TestGateDoesNotWaitForAListenerThatIsLost: one that is shut down and cannot listen
// again where it did is the reason at once; one that can is waited for.
func TestGateDoesNotWaitForAListenerThatIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		taken bool
		want  string
	}{
		"somebody took its port": {true, "listener http at 127.0.0.1:"},
		"its port is free":       {false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, fd, _ := held(t, "tcp://127.0.0.1:0")
			monitor, err := health.NewMonitor(health.MonitorConfig{Listeners: []health.Listener{{Name: "http", FD: fd}}})
			if err != nil {
				t.Fatal(err)
			}
			defer monitor.Close()
			cfg := config.Default()
			cfg.GateTimeout = config.Duration(time.Hour) // nobody waits for that
			decided := ""
			w := newWatcher(func() config.Config { return cfg }, h.audit, func() *health.Monitor { return monitor }, nil, func(step, decision, reason string) {
				decided = step + " " + decision + " " + reason
			}, slog.New(slog.DiscardHandler))
			if c.taken {
				takeAway(t, h, fd)
			} else if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
				t.Fatal(err)
			}
			_, err = w.Gate(t.Context(), upgrade.Target{Generation: 2, Active: 1})
			if c.want == "" {
				if err != nil || decided != "gate opened settled" {
					t.Errorf("gate: %v, decided %q, want that it opens", err, decided)
				}
				return
			}
			if !errors.Is(err, errShutDown) || !strings.HasPrefix(err.Error(), c.want) || decided != "gate shut not-listening" {
				t.Errorf("gate: %v, decided %q, want the listener and why it is lost", err, decided)
			}
		})
	}
}
