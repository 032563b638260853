package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// statusLine says in one line of words what goes on: what `systemctl status`
// shows. What changes by itself, as the queue does, is in it only while the line
// is told anew.
func statusLine(st upgrade.Status, queues []health.Figures, now time.Time) string {
	if st.Stopping {
		return stopping(st, now)
	}
	parts := []string{doing(st, now)}
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleDraining {
			parts = append(parts, draining(g, now))
		}
	}
	if queue := fullest(queues); queue != "" && passing(st) {
		parts = append(parts, queue)
	}
	return strings.Join(parts, ", ")
}

// passing reports whether there is something that has an end.
func passing(st upgrade.Status) bool {
	return st.Stopping || st.Phase != upgrade.PhaseIdle || st.Restart != nil || inRole(st, upgrade.RoleDraining) != 0
}

// doing is the first part: the phase, or what is active.
func doing(st upgrade.Status, now time.Time) string {
	active, candidate := inRole(st, upgrade.RoleActive), inRole(st, upgrade.RoleCandidate)
	left := ""
	if st.PhaseEnds != nil {
		left = ", " + remaining(*st.PhaseEnds, now) + " left"
	}
	switch st.Phase {
	case upgrade.PhaseAdmission:
		return serving(st, now) + ", at admission"
	case upgrade.PhaseStart:
		return fmt.Sprintf("generation %d starting%s", candidate, left)
	case upgrade.PhaseReady:
		return fmt.Sprintf("generation %d being probed%s", candidate, left)
	case upgrade.PhaseOverlap:
		return fmt.Sprintf("generations %d and %d both accepting%s", active, candidate, left)
	case upgrade.PhaseGate:
		return fmt.Sprintf("generation %d at the gate%s", candidate, left)
	case upgrade.PhaseCutOver:
		return fmt.Sprintf("generation %d pausing for generation %d%s", active, candidate, left)
	case upgrade.PhaseBake:
		return fmt.Sprintf("generation %d baking%s", cmp.Or(candidate, active), left)
	case upgrade.PhaseRollback:
		return "rolling back: " + rollingBack(st, now, left)
	}
	return serving(st, now)
}

// rollingBack is the generation that is to accept again, or what is started in
// its place.
func rollingBack(st upgrade.Status, now time.Time, left string) string {
	if st.Restart != nil {
		return restarting(st, now)
	}
	return fmt.Sprintf("generation %d resuming%s", cmp.Or(inRole(st, upgrade.RolePaused), inRole(st, upgrade.RoleActive)), left)
}

// serving is who accepts, or what is done about it that nobody does.
func serving(st upgrade.Status, now time.Time) string {
	if active := inRole(st, upgrade.RoleActive); active != 0 {
		return fmt.Sprintf("generation %d active", active)
	}
	if st.Restart == nil {
		return "no generation active"
	}
	return "no generation active, " + restarting(st, now)
}

func restarting(st upgrade.Status, now time.Time) string {
	if n := inRole(st, upgrade.RoleRestarting); n != 0 {
		return fmt.Sprintf("generation %d starting", n)
	}
	return fmt.Sprintf("next start in %s: %s", remaining(st.Restart.Next, now), st.Restart.Reason)
}

// stopping tells what is waited for.
func stopping(st upgrade.Status, now time.Time) string {
	var parts []string
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleDraining {
			parts = append(parts, draining(g, now))
		} else {
			parts = append(parts, fmt.Sprintf("generation %d %s", g.Generation, g.Role))
		}
	}
	if len(parts) == 0 {
		return "stopped"
	}
	return "stopping: " + strings.Join(parts, ", ")
}

func draining(g upgrade.GenerationStatus, now time.Time) string {
	text := fmt.Sprintf("generation %d draining", g.Generation)
	if g.Active != nil && *g.Active > 0 {
		text += " " + connections(*g.Active)
	}
	if g.DrainDeadline != nil {
		text += ", " + remaining(*g.DrainDeadline, now) + " left"
	}
	return text
}

// inRole is the generation of a role; 0 if there is none.
func inRole(st upgrade.Status, role upgrade.Role) int {
	i := slices.IndexFunc(st.Generations, func(g upgrade.GenerationStatus) bool { return g.Role == role })
	if i < 0 {
		return 0
	}
	return st.Generations[i].Generation
}

func remaining(until, now time.Time) string {
	return fmt.Sprintf("%.1f s", max(0, until.Sub(now).Seconds()))
}

// fullest tells of the accept queue that is closest to its limit.
func fullest(queues []health.Figures) string {
	text, most := "", -1.0
	for _, f := range queues {
		o := f.Observation
		if o.Limit == 0 {
			continue
		}
		if fill := float64(o.Depth) / float64(o.Limit); fill > most {
			text, most = fmt.Sprintf("queue %d/%d", o.Depth, o.Limit), fill
		}
	}
	return text
}

// A bulletin is what the service manager has been told.
type bulletin struct {
	ready, reloading, stopping bool
	hangup                     bool // an upgrade was asked for by signal
}

// News of the service, each of which is told in a way of its own.
type news int

const (
	newsLine news = iota // nothing but the line
	newsReady
	newsReloading
	newsStopping
	newsMoreTime
)

// next returns how st is to be told. An upgrade that was asked for by signal is a
// reload, whatever its verdict: the service goes on, and systemd may wait for
// that. Any other has a caller who waits, which may be ExecReload=. That one's end
// is the end of the reload: if it were told of both, systemd 253 and later would
// wait for a READY=1 from a supervisor that was killed meanwhile, instead of
// starting the next one.
func (b *bulletin) next(st upgrade.Status) news {
	switch {
	case b.stopping:
	case st.Stopping:
		b.stopping, b.reloading = true, false
		return newsStopping
	case !b.ready:
		if inRole(st, upgrade.RoleActive) != 0 {
			b.ready = true
			return newsReady
		}
	case b.hangup && !b.reloading:
		b.reloading = true
		return newsReloading
	case !b.hangup && st.Request == 0 && b.reloading: // the last step may come later than that word
		b.reloading = false
		return newsReady
	}
	return newsLine
}

// hungUp returns how it is to be told that hangup has been set or not. With
// Type=notify-reload, systemd takes only what comes after its signal for the
// beginning of the reload, so that each is answered.
func (b *bulletin) hungUp(st upgrade.Status) news {
	if b.hangup && b.reloading {
		return newsReloading
	}
	return b.next(st)
}

// needsTime reports whether the service manager waits for something that is
// within the supervisor's own limits: a start, an upgrade, or drains, which may
// take longer by grace.
func (b *bulletin) needsTime(st upgrade.Status, now time.Time, grace time.Duration) bool {
	switch {
	case b.stopping:
		return slices.ContainsFunc(st.Generations, func(g upgrade.GenerationStatus) bool {
			return g.DrainDeadline != nil && now.Before(g.DrainDeadline.Add(grace))
		})
	case !b.ready, b.reloading, st.Request != 0:
		return st.PhaseEnds != nil || inRole(st, upgrade.RoleRestarting) != 0
	}
	return false
}
