package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/hook"
	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/cgroup"
	"example.com/supervisor/upgrade"
	"golang.org/x/sync/errgroup"
)

const (
	// lookEvery is how often the queues are looked at while they decide, if
	// they are not short of room.
	lookEvery = 5 * time.Millisecond
	// paceEvery is the same while an old generation drains.
	paceEvery = 20 * time.Millisecond
)

// watcher looks at generations and at the accept queues for package upgrade
// with the means of package health.
type watcher struct {
	cfg     config.Config
	audit   func() error    // of the listeners
	monitor *health.Monitor // nil: there are no queues
	decided func(step, decision, reason string)
	need    func() (bytes uint64, known bool) // of memory, for a second generation; nil: not known
	room    func() (cgroup.Room, error)       // for that
	trouble func() error                      // of what is written down for the next supervisor; nil: there is none
	env     []string
	log     *slog.Logger

	mu       sync.Mutex
	accounts map[uint64]*account // of the requests under way
}

func newWatcher(cfg config.Config, audit func() error, monitor *health.Monitor, need func() (bytes uint64, known bool), decided func(step, decision, reason string), log *slog.Logger) *watcher {
	return &watcher{
		cfg: cfg, audit: audit, monitor: monitor, need: need, decided: decided, log: log,
		room:     cgroup.Headroom,
		env:      upgrade.CleanEnv(baseEnvironment(cfg.EnvClear)),
		accounts: map[uint64]*account{},
	}
}

// Check asks whether the release can be used at all, whatever the moment.
func (w *watcher) Check(ctx context.Context, a upgrade.Admission) error {
	if err := w.cfg.Speaks(a.Release.Program); err != nil {
		return err
	}
	if len(w.cfg.Check) == 0 || a.Kind == upgrade.KindRollback { // which goes back to what has run
		return nil
	}
	words := slices.Clone(w.cfg.Check)
	for i := range words {
		if words[i] == "{program}" {
			words[i] = a.Release.Path
		}
	}
	err := hook.Command{
		Words: words, Dir: a.Release.WorkingDir(), Env: append(w.env[:len(w.env):len(w.env)], a.Release.Environment()...),
		Limit: time.Duration(w.cfg.HookTimeout),
		Tell:  func(line string) { w.log.Info(line, "check", words[0], "request", a.Request) },
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("the check failed: %w", err)
	}
	return nil
}

// Admit checks that the listeners are still what they were, and repairs them
// where it can: a generation can spoil them for all. Then it asks whether the
// queues are as they are in an incident, in which nobody should deploy, and
// whether there is memory for a second generation, and whether the next supervisor
// could go on from its verdict. A rollback is how incidents
// end, and so is an upgrade when nothing runs: these are let in all the same.
func (w *watcher) Admit(ctx context.Context, a upgrade.Admission) error {
	decided := w.decided
	if a.DryRun { // which counts for nothing
		decided = func(string, string, string) {}
	}
	if err := w.audit(); err != nil {
		decision, reason := "refused", metrics.ReasonListeners
		if errors.Is(err, rundir.ErrGone) {
			reason = metrics.ReasonState
		}
		if a.Force { // which overrules it
			decision = "let"
		}
		decided("admission", decision, reason)
		return err
	}
	reason, way, objection := w.object(ctx, a)
	switch {
	case objection == nil:
		decided("admission", "let", string(health.ReasonSettled))
		return nil
	case a.Kind == upgrade.KindRollback || a.Down:
		w.log.Warn("the moment is a bad one, and that is no reason to wait", "request", a.Request, "reason", objection)
		decided("admission", "let", reason)
		return nil
	case a.Force: // what it says is recorded, and overruled
		decided("admission", "let", reason)
	default:
		decided("admission", "refused", reason)
	}
	if way != "" {
		way = "; " + way
	}
	return fmt.Errorf("this is no moment to deploy: %w%s, or use --force", objection, way)
}

// object says what is against this moment, and the way out.
func (w *watcher) object(ctx context.Context, a upgrade.Admission) (reason, way string, objection error) {
	if w.monitor != nil {
		w.account(a.Request).judge(w.monitor, a.Force || a.Kind == upgrade.KindRollback)
		if finding, objects := w.monitor.Objection(ctx); objects {
			return string(finding.Reason), "wait until it is over", finding
		}
	}
	if w.trouble != nil {
		if err := w.trouble(); err != nil {
			return metrics.ReasonState, "", err
		}
	}
	if err := w.objectToMemory(); err != nil {
		return metrics.ReasonMemory, "wait until there is more, raise the limit (MemoryMax= of a unit)", err
	}
	return "", "", nil
}

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

// Gate waits until the probe and the queues have been well for the settle
// window, both at once, and the candidate was seen to finish what it accepts.
func (w *watcher) Gate(ctx context.Context, t upgrade.Target) (why string, err error) {
	probe, err := w.probe(t)
	if err != nil {
		return "", err
	}
	// A little less than the machine's own limit, which knows no reasons.
	limit := time.Duration(w.cfg.GateTimeout)
	inTime, cancel := context.WithTimeoutCause(ctx, limit-min(limit/20, 100*time.Millisecond),
		fmt.Errorf("not well for %v on end within %v", w.cfg.Settle, w.cfg.GateTimeout))
	defer cancel()
	decision, reason := "opened", string(health.ReasonSettled)
	if w.monitor == nil {
		why = fmt.Sprintf("all was well for %v", w.cfg.Settle)
		if err = health.Settle(inTime, probe, time.Duration(w.cfg.ProbeInterval), time.Duration(w.cfg.Settle)); err != nil {
			decision, reason = "shut", metrics.ReasonProbe
		}
	} else {
		why, decision, reason, err = w.watchGate(inTime, t, probe)
	}
	if ctx.Err() == nil { // not called off
		w.decided("gate", decision, reason)
	}
	return why, err
}

// watchGate watches the probe and the queues side by side.
func (w *watcher) watchGate(ctx context.Context, t upgrade.Target, probe health.Probe) (why, decision, reason string, err error) {
	g := newGatekeeper(w, t)
	ctx, cancel := context.WithCancelCause(ctx)
	var probing sync.WaitGroup
	probing.Go(func() {
		health.Steady(ctx, probe, time.Duration(w.cfg.ProbeInterval), time.Duration(w.cfg.Settle), g.probed)
	})
	err = w.monitor.Follow(ctx, lookEvery, g.see)
	cancel(nil)
	probing.Wait()
	return g.verdict(err)
}

// Bake watches until the probe says no too often, or a queue shows that the new
// generation cannot keep up.
func (w *watcher) Bake(ctx context.Context, t upgrade.Target) error {
	probe, err := w.probe(t)
	if err != nil {
		return err
	}
	group, watching := errgroup.WithContext(ctx)
	if len(probe) > 0 {
		group.Go(func() error {
			if err := health.Watch(watching, probe, time.Duration(w.cfg.ProbeInterval), w.cfg.ProbeFailures); err != nil {
				w.decided("bake", "tripped", metrics.ReasonProbe)
				return fmt.Errorf("is unhealthy: %w", err)
			}
			return nil
		})
	}
	if w.monitor != nil {
		group.Go(func() error { return w.watchQueues(watching, t) })
	}
	group.Go(func() error {
		<-watching.Done()
		return nil
	})
	return group.Wait()
}

// watchQueues returns when the queues trip the bake, or ctx is done.
func (w *watcher) watchQueues(ctx context.Context, t upgrade.Target) error {
	a := w.account(t.Request)
	var finding health.Finding
	err := w.monitor.Follow(ctx, lookEvery, func(v health.View) bool {
		var tripped bool
		finding, tripped = a.bakes(v, t)
		return tripped
	})
	if err != nil { // called off, or the supervisor stops
		return nil
	}
	w.decided("bake", "tripped", string(finding.Reason))
	return fmt.Errorf("does not keep up: %w", finding)
}

// Pace holds the clients of a draining generation back while the queues are not
// well.
func (w *watcher) Pace(ctx context.Context, t upgrade.Target, hold func(bool)) {
	if w.monitor == nil {
		return
	}
	pacer, held := health.NewPacer(w.monitor.Watched(false)), false
	_ = w.monitor.Follow(ctx, paceEvery, func(v health.View) bool { // it ends with ctx, or with the supervisor
		if now := pacer.Observe(v.Observations); now != held {
			held = now
			w.log.Debug("paces a drain", "generation", t.Generation, "hold", held)
			hold(held)
		}
		return false
	})
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
		upgrade.EnvGeneration+"="+strconv.Itoa(t.Generation),
		"SUPERVISOR_PID="+strconv.Itoa(t.PID),
		"SUPERVISOR_PROBE_SOCKET="+t.ProbeSocket,
	)
}
