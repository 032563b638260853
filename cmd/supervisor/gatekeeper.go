package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// gatekeeper decides for one candidate when the active generation may stop
// accepting.
type gatekeeper struct {
	target  upgrade.Target
	account *account
	gate    *health.Gate
	settle  time.Duration
	ripe    time.Duration // how long a report of the candidate may take after the window
	repair  func() error  // of the listeners

	// Of the monitor's goroutine; read after it has ended.
	began   time.Duration // -1: not yet
	finding health.Finding
	lost    error // a listener that does not listen, and cannot be made to

	mu      sync.Mutex
	settled bool  // the probe has passed for the window
	reason  error // its last no
}

func newGatekeeper(w *watcher, t upgrade.Target, m *health.Monitor) *gatekeeper {
	a := w.account(t.Request, m)
	return &gatekeeper{
		target: t, account: a, gate: health.NewGate(a.watched, time.Duration(w.settings().Settle)),
		repair: w.audit, settle: time.Duration(w.settings().Settle), ripe: statsInterval(len(w.settings().Listen)) * 3 / 2, began: -1,
	}
}

// probed takes what the probe says.
func (g *gatekeeper) probed(settled bool, reason error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settled, g.reason = settled, reason
}

// see takes a look at the queues and reports whether all is decided.
func (g *gatekeeper) see(v health.View) bool {
	if g.began < 0 {
		g.began = v.At
	}
	finding, open := g.gate.Observe(v.Observations)
	if active, ok := v.Count(g.target.Active); ok {
		g.account.outgoing(active)
	}
	switch f, state := g.account.works(v, g.target.Generation); state {
	case health.Stuck:
		g.finding = f
		return true
	case health.Open: // what the queues object to is still the reason
		open = false
	}
	g.finding = finding
	if g.isLost(finding) {
		return true
	}
	if !open || !g.hasSettled() || !g.isRipe(v) {
		return false
	}
	g.account.bake.Observe(v.Observations) // what is dropped from here on is the bake's affair
	return true
}

// isLost reports whether a listener does not listen now, and that cannot be put right:
// nothing is gained by waiting for it.
func (g *gatekeeper) isLost(f health.Finding) bool {
	if f.Reason != health.ReasonNotListening || f.Ago > 0 {
		return false
	}
	if err := g.repair(); errors.Is(err, errShutDown) {
		g.lost = err
	}
	return g.lost != nil
}

func (g *gatekeeper) hasSettled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.settled
}

// isRipe reports whether the candidate had the time to report what it did in
// the settle window.
func (g *gatekeeper) isRipe(v health.View) bool {
	return g.settle == 0 || !g.target.Reports || v.At-g.began >= g.settle+g.ripe || v.CountedSince(g.target.Generation, g.began+g.settle)
}

// verdict puts what was seen into words; err is how the watch ended.
func (g *gatekeeper) verdict(err error) (why, decision, reason string, _ error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch f := g.finding; {
	case err == nil && g.lost != nil:
		return "", "shut", string(f.Reason), g.lost
	case err == nil && f.Reason == health.ReasonSettled:
		return f.String(), "opened", string(f.Reason), nil
	case err == nil:
		return "", "shut", string(f.Reason), f
	case !g.settled && g.reason != nil:
		return "", "shut", metrics.ReasonProbe, fmt.Errorf("gave up (%w); last reason: %w", err, g.reason)
	case errors.Is(err, health.ErrClosed) || f.Reason == health.ReasonSettled || f.Reason == "":
		return "", "shut", metrics.ReasonTimeout, fmt.Errorf("gave up: %w", err)
	default:
		return "", "shut", string(f.Reason), fmt.Errorf("gave up (%w); last reason: %w", err, f)
	}
}
