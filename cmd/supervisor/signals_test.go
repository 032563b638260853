package main

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/upgrade"
)

// signalled notes what a supervisor is asked for by signals.
type signalled struct {
	mu       sync.Mutex
	stops    []bool // at once?
	upgrades atomic.Int64
	takes    time.Duration // of each upgrade
}

func (*signalled) Await(context.Context, uint64, func(upgrade.Step)) (upgrade.Report, error) {
	return upgrade.Report{}, upgrade.ErrUnknownRequest
}

func (s *signalled) Upgrade(ctx context.Context, _ upgrade.Request, _ func(upgrade.Step)) (upgrade.Report, error) {
	s.upgrades.Add(1)
	select {
	case <-time.After(s.takes):
		return upgrade.Report{Verdict: upgrade.Committed}, nil
	case <-ctx.Done():
		return upgrade.Report{}, ctx.Err()
	}
}

func (s *signalled) Rollback(context.Context, upgrade.Request, func(upgrade.Step)) (upgrade.Report, error) {
	panic("no signal asks for a rollback")
}

func (s *signalled) Stop(_ context.Context, now bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, now)
	return nil
}

func (s *signalled) Status(context.Context) (upgrade.Status, error) { return upgrade.Status{}, nil }

// heed sends signals and lets time pass between them, and returns the log.
func (s *signalled) heed(t *testing.T, sent func(send func(syscall.Signal))) string {
	var log strings.Builder
	signals, ended := make(chan os.Signal), make(chan struct{})
	var heeding sync.WaitGroup
	heeding.Go(func() {
		heedSignals(signals, s, func(bool) {}, slog.New(slog.NewTextHandler(&log, nil)), ended)
	})
	sent(func(sig syscall.Signal) { signals <- sig; synctest.Wait() })
	close(ended)
	heeding.Wait()
	return log.String()
}

func TestDoubledSignalStopsGracefully(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second syscall.Signal
		after  []time.Duration
		want   []bool
	}{
		{"alone", syscall.SIGTERM, nil, []bool{false}},
		{"doubled at once", syscall.SIGTERM, []time.Duration{0}, []bool{false}},
		{"doubled by another", syscall.SIGINT, []time.Duration{2 * time.Millisecond, 498 * time.Millisecond}, []bool{false}},
		{"insisted", syscall.SIGTERM, []time.Duration{501 * time.Millisecond}, []bool{false, true}},
		{"doubled, then insisted", syscall.SIGINT, []time.Duration{time.Millisecond, time.Second}, []bool{false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var s signalled
				s.heed(t, func(send func(syscall.Signal)) {
					send(syscall.SIGQUIT)
					for _, wait := range c.after {
						time.Sleep(wait)
						send(c.second)
					}
				})
				if !slices.Equal(s.stops, c.want) {
					t.Errorf("stops at once: %v, want %v", s.stops, c.want)
				}
			})
		})
	}
}

func TestHangupsDuringAnUpgradeAreOneMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := signalled{takes: time.Minute}
		log := s.heed(t, func(send func(syscall.Signal)) {
			for range 50 {
				send(syscall.SIGHUP)
			}
			if n := s.upgrades.Load(); n != 1 {
				t.Errorf("%d upgrades run at once", n)
			}
			time.Sleep(90 * time.Second)
			synctest.Wait()
			if n := s.upgrades.Load(); n != 2 {
				t.Errorf("%d upgrades, want a second after the first", n)
			}
			time.Sleep(time.Hour)
			send(syscall.SIGHUP)
		})
		if n := s.upgrades.Load(); n != 3 {
			t.Errorf("%d upgrades, want 3", n)
		}
		if n := strings.Count(log, "one more will follow"); n != 1 {
			t.Errorf("said %d times that one more will follow:\n%s", n, log)
		}
	})
}
