package main

import (
	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/history"
	"example.com/supervisor/upgrade"
)

// openHistory reads the history of the service, and adds what a supervisor that was
// here before had no time to write.
func (h *host) openHistory(getenv func(string) string) {
	h.history = history.Open(history.Choose(h.cfg.StateDir, h.cfg.ServiceName(), getenv), h.cfg.ServiceName(), h.log)
	if from := h.origin.state; from != nil {
		for _, r := range from.Supervisor.Reports {
			h.remember(r)
		}
	}
}

// remember adds a report to the history, unless it is of a request that was
// turned away because another one ran, or was a dry run.
func (h *host) remember(r upgrade.Report) {
	if r.Kind == upgrade.KindStart || len(r.Phases) > 0 && !r.DryRun {
		h.history.Add(history.Of(h.cfg.ServiceName(), r))
	}
}

// reported takes the report of a request.
func (h *host) reported(r upgrade.Report) {
	h.stats.Reported(r)
	h.remember(r)
}

// choose says what to start where no generation is alive, by the history.
func (h *host) choose(configured upgrade.Release) (first upgrade.Release, previous *upgrade.Release) {
	d := history.Decide(h.history.Entries(), configured, h.cfg.Start == config.StartConfigured)
	if d.Start == nil {
		return configured, h.revive(d.Previous)
	}
	first, err := upgrade.Revive(*d.Start, h.cfg.Env)
	if err != nil {
		h.log.Warn("the configured release is started: the last committed one, which would be started in its place, cannot be",
			"configured", configured.String(), "why", d.Why, "committed", d.Start.String(), "error", err)
		return configured, nil
	}
	h.log.Warn("the last committed release is started and not the configured one; to insist, upgrade to it, or start with --start configured",
		"committed", first.String(), "configured", configured.String(), "why", d.Why)
	return first, h.revive(d.Previous)
}

// revive completes the release that a rollback goes to, as far as it can be known
// again; else there is none.
func (h *host) revive(previous *upgrade.Release) *upgrade.Release {
	if previous == nil {
		return nil
	}
	r, err := upgrade.Revive(*previous, h.cfg.Env)
	if err != nil {
		h.log.Info("the release before cannot be gone back to", "release", previous.String(), "error", err)
		return nil
	}
	return &r
}
