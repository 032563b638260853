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
// shows.
func statusLine(st upgrade.Status, queues []health.Figures, now time.Time) string {
	parts := []string{doing(st, now)}
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleDraining && !st.Stopping {
			parts = append(parts, draining(g, now))
		}
	}
	if queue := fullest(queues); queue != "" {
		parts = append(parts, queue)
	}
	return strings.Join(parts, ", ")
}

// doing is the first part: the phase, or what is active.
func doing(st upgrade.Status, now time.Time) string {
	active, candidate, paused := inRole(st, upgrade.RoleActive), inRole(st, upgrade.RoleCandidate), inRole(st, upgrade.RolePaused)
	left := ""
	if st.PhaseEnds != nil {
		left = ", " + remaining(*st.PhaseEnds, now) + " left"
	}
	switch {
	case st.Stopping:
		return stopping(st, now)
	case st.Phase == upgrade.PhaseAdmission:
		return fmt.Sprintf("generation %d active, may an upgrade start?", active)
	case st.Phase == upgrade.PhaseStart:
		return fmt.Sprintf("generation %d starting%s", candidate, left)
	case st.Phase == upgrade.PhaseReady:
		return fmt.Sprintf("generation %d being probed%s", candidate, left)
	case st.Phase == upgrade.PhaseOverlap:
		return fmt.Sprintf("generations %d and %d both accepting%s", active, candidate, left)
	case st.Phase == upgrade.PhaseGate:
		return fmt.Sprintf("generation %d at the gate%s", candidate, left)
	case st.Phase == upgrade.PhaseCutOver:
		return fmt.Sprintf("generation %d pausing for %d%s", active, candidate, left)
	case st.Phase == upgrade.PhaseBake && paused == 0 && candidate != 0:
		return fmt.Sprintf("generation %d baking%s", candidate, left)
	case st.Phase == upgrade.PhaseBake:
		return fmt.Sprintf("generation %d baking%s", active, left)
	case st.Phase == upgrade.PhaseRollback:
		return fmt.Sprintf("generation %d resuming%s", cmp.Or(paused, active), left)
	case active != 0:
		return fmt.Sprintf("generation %d active", active)
	case st.Restart != nil && !st.Restart.Next.IsZero():
		return fmt.Sprintf("no generation active, next start in %s: %s", remaining(st.Restart.Next, now), st.Restart.Reason)
	case inRole(st, upgrade.RoleRestarting) != 0:
		return fmt.Sprintf("no generation active, generation %d starting", inRole(st, upgrade.RoleRestarting))
	}
	return "no generation active"
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
	if g.Active > 0 {
		text += fmt.Sprintf(" %d connections", g.Active)
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
	line                       string
}

// News of the service, each of which is told in a way of its own.
type news int

const (
	newsNone news = iota
	newsLine      // nothing but the line
	newsReady
	newsReloading
	newsStopping
)

// next returns what is to be told of st, whose line is line. An upgrade is a
// reload whatever its verdict: the service goes on.
func (b *bulletin) next(st upgrade.Status, line string) news {
	same := line == b.line
	b.line = line
	serves := inRole(st, upgrade.RoleActive) != 0
	busy := st.Request != 0 || b.hangup
	switch {
	case st.Stopping && !b.stopping:
		b.stopping = true
		return newsStopping
	case b.stopping:
	case !b.ready:
		if serves {
			b.ready, b.reloading = true, false
			return newsReady
		}
	case busy && !b.reloading:
		b.reloading = true
		return newsReloading
	case !busy && b.reloading:
		b.reloading = false
		return newsReady
	}
	if same {
		return newsNone
	}
	return newsLine
}
