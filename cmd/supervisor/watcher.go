package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// watcher looks at generations for package upgrade with the means of package
// health.
type watcher struct {
	cfg   config.Config
	audit func() error // of the listeners
	env   []string
	log   *slog.Logger
}

func newWatcher(cfg config.Config, audit func() error, log *slog.Logger) *watcher {
	return &watcher{cfg, audit, upgrade.CleanEnv(baseEnvironment(cfg.EnvClear)), log}
}

// Admit checks that the listeners are still what they were, and repairs them
// where it can: a generation can spoil them for all.
func (w *watcher) Admit(context.Context, upgrade.Admission) error { return w.audit() }

// Ready probes until all is well; without a probe the generation's own word is
// enough.
func (w *watcher) Ready(ctx context.Context, t upgrade.Target) error {
	probe, err := w.probe(t)
	if err != nil {
		return err
	}
	err = health.Poll(ctx, probe, time.Duration(w.cfg.ProbeInterval))
	if err != nil {
		w.log.Warn("the probe did not pass", "generation", t.Generation, "pid", t.PID, "reason", err)
	}
	return err
}

// Gate waits until all has been well for the settle window.
func (w *watcher) Gate(ctx context.Context, t upgrade.Target) (why string, err error) {
	probe, err := w.probe(t)
	if err != nil {
		return "", err
	}
	// A little less than the machine's own limit, which knows no reasons.
	limit := time.Duration(w.cfg.GateTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit-min(limit/20, 100*time.Millisecond),
		fmt.Errorf("not well for %v on end within %v", w.cfg.Settle, w.cfg.GateTimeout))
	defer cancel()
	return "the gate is open", health.Settle(ctx, probe, time.Duration(w.cfg.ProbeInterval), time.Duration(w.cfg.Settle))
}

// Pace lets a drain go on as fast as it likes.
func (w *watcher) Pace(context.Context, upgrade.Target, func(hold bool)) {}

// Account has nothing to tell.
func (w *watcher) Account(uint64, bool) []upgrade.QueueAccount { return nil }

// Bake probes until the answer is no too often.
func (w *watcher) Bake(ctx context.Context, t upgrade.Target) error {
	probe, err := w.probe(t)
	if err != nil {
		return err
	}
	if len(probe) == 0 {
		<-ctx.Done()
		return nil
	}
	if err := health.Watch(ctx, probe, time.Duration(w.cfg.ProbeInterval), w.cfg.ProbeFailures); err != nil {
		return fmt.Errorf("is unhealthy: %w", err)
	}
	return nil
}

// probe is how t is asked; with nothing to ask, all is well.
func (w *watcher) probe(t upgrade.Target) (health.All, error) {
	var all health.All
	timeout := time.Duration(w.cfg.ProbeTimeout)
	if w.cfg.Probe != "" {
		if t.ProbeSocket == "" {
			return nil, errors.New("it does not answer on a probe socket; probe it by a command instead (probe-command), or not at all")
		}
		all = append(all, health.HTTP{Socket: t.ProbeSocket, Path: w.cfg.Probe, Timeout: timeout})
	}
	if len(w.cfg.ProbeCommand) > 0 {
		all = append(all, health.Command{Args: w.cfg.ProbeCommand, Dir: t.Dir, Env: w.probeEnv(t), Timeout: timeout})
	}
	return all, nil
}

// probeEnv is the environment of a probe command: that of the generation, and
// which one it is.
func (w *watcher) probeEnv(t upgrade.Target) []string {
	env := append(w.env[:len(w.env):len(w.env)], t.Env...)
	return append(env,
		"SUPERVISOR_GENERATION="+strconv.Itoa(t.Generation),
		"SUPERVISOR_PID="+strconv.Itoa(t.PID),
		"SUPERVISOR_PROBE_SOCKET="+t.ProbeSocket,
	)
}
