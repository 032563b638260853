package main

import (
	"context"
	"errors"
	"os"

	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/upgrade"
)

// supervise makes the supervisor and its metrics; nothing is started yet.
func (h *host) supervise() (err error) {
	version := ownVersion()
	h.stats = metrics.New(metrics.Build{Version: version.Version, Revision: version.Revision, Go: version.Go}, metrics.Sources{
		Status:    func(ctx context.Context) (upgrade.Status, error) { return h.supervisor.Status(ctx) },
		Queues:    h.queues.Figures,
		Namespace: h.queues.namespace,
	})
	h.announcer = newAnnouncer(h.notifier, h.queues.Figures, endings*h.cfg.Policy().StopGrace, h.origin.handed() != nil, h.log)
	watcher := newWatcher(h.settings.current, h.audit, h.queues.monitor, h.need, h.stats.Decided, h.log)
	watcher.trouble = h.record.trouble
	cfg := upgrade.Config{
		Service:   h.cfg.ServiceName(),
		Program:   *h.said(h.cfg, h.listeners.first),
		Policy:    h.cfg.Policy(),
		Watcher:   watcher,
		Hooks:     h.hooks(),
		Logger:    h.log,
		Reported:  h.reported,
		Choose:    h.choose,
		Kept:      h.kept,
		Began:     h.remember,
		Persist:   h.persist,
		Renew:     h.renew,
		Retain:    h.retain,
		Decided:   h.decided,
		Changed:   h.changed,
		After:     h.strangers.highest,
		Killed:    h.origin.killed,
		Survivors: h.origin.gathered.Survivors,
		Listeners: h.listeners.status,
		Launcher: parting{strangers: h.strangers, Launcher: upgrade.NewLauncher(upgrade.LauncherConfig{
			Rendezvous:    h.rendezvous,
			Keeper:        h.keeper,
			Children:      h.children.set,
			Service:       h.cfg.ServiceName(),
			Listeners:     h.listeners.all(),
			Close:         h.stopListening,
			Lend:          h.lend,
			Execute:       h.execution,
			Kept:          h.kept,
			OwnLine:       h.own.wrote,
			RunDir:        h.dir.Path,
			BaseEnv:       baseEnvironment(h.cfg.EnvClear),
			Stdout:        os.Stdout,
			Stderr:        os.Stderr,
			StatsInterval: statsInterval(len(h.listeners.first)),
			Counted:       h.counted,
			Logger:        h.log,
		})},
	}
	if from := h.origin.state; from != nil {
		cfg.From = &from.Supervisor
		h.listeners.adopt(from.Supervisor.Generations)
	}
	h.recount()
	h.supervisor, err = upgrade.New(cfg)
	return err
}

// lend sees to all that a generation is handed.
func (h *host) lend(generation int, r upgrade.Release) ([]fdpass.Listener, func(), error) {
	if err := h.dir.Check(); err != nil {
		return nil, nil, err
	}
	return h.listeners.lend(generation, r)
}

// audit checks what every generation needs.
func (h *host) audit() error {
	if err := h.dir.Check(); err != nil {
		return err
	}
	return h.listeners.audit()
}

// seeToRunDir sees to the control socket, to what is written down for the next
// supervisor, and to the history.
func (h *host) seeToRunDir() {
	h.seeToControl()
	h.record.see(h.supervisor.WriteDown)
	h.history.Retry()
}

// seeToControl has the control socket where it was, if somebody has removed it:
// without it nobody can ask for anything.
func (h *host) seeToControl() {
	if h.dir.Check() != nil {
		return // nobody would look for it there
	}
	switch renewed, err := h.control.Renew(); {
	case err != nil && h.uncontrolled: // it has been told
	case err != nil:
		h.uncontrolled = true
		h.log.Error("the control socket was removed and cannot be made anew; SIGHUP upgrades, SIGTERM stops", "error", err)
	case renewed:
		h.uncontrolled = false
		h.log.Warn("somebody removed the control socket; it is made anew", "control", h.dir.Control())
	}
}

// recount goes on with the counts of another supervisor.
func (h *host) recount() {
	from := h.origin.state
	if from == nil {
		return
	}
	if len(from.Metrics) > 0 {
		if err := h.stats.Restore(from.Metrics); err != nil {
			h.log.Error("cannot go on with the counts of the last supervisor; they begin anew", "error", err)
		}
	}
	if h.origin.killed {
		h.stats.Recovered(len(h.origin.gathered.Survivors))
	} else {
		h.stats.Reexecuted()
	}
}

// counted takes what a generation reports; nil is its end, after which the
// listeners may want to be seen to.
func (h *host) counted(generation int, stats []fdpass.ListenerStats) {
	h.queues.counted(generation, stats)
	if stats == nil {
		h.listeners.users.remove(generation)
		h.listeners.look()
	}
}

// stopListening leaves the listeners to the last generation.
func (h *host) stopListening() {
	if err := errors.Join(h.queues.close(), h.listeners.close()); err != nil {
		h.log.Error("cannot close the listeners", "error", err)
	}
}
