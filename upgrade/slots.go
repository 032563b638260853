package upgrade

import (
	"fmt"
	"slices"
	"time"
)

// generation is one running instance of the service.
type generation struct {
	number   int
	release  Release
	ready    bool // has said so: it may hold connections
	canPause bool
	mute     bool // its channel is lost
	command  TimerID
	// Once it is draining:
	timer      TimerID
	terminated bool // was sent SIGTERM
	drained    bool // has said that no connection is left
	cut        int
	waiter     *request // is answered when this generation has ended
}

// request is the upgrade under way.
type request struct {
	Requested
	timer       TimerID
	undo        uint64 // the rollback request that undoes this one; 0 if none
	reason      string // why it is being undone
	from, to    int
	fromRelease *Release
	toRelease   *Release
}

// restart takes the place of an active generation that ended: first a
// back-off, then a generation that starts.
type restart struct {
	generation *generation // nil during the back-off
	timer      TimerID
	reason     string // why the active generation is down
}

func (r *request) reply(v Verdict, reason string) Reply {
	return Reply{Request: r.Request, Kind: r.Kind, Verdict: v, Reason: reason, Forced: r.Force,
		From: r.from, To: r.to, FromRelease: r.fromRelease, ToRelease: r.toRelease}
}

func (m *Machine) newGeneration(r Release) *generation {
	m.generations++
	return &generation{number: m.generations, release: r}
}

func (m *Machine) find(n int) *generation {
	all := slices.Concat([]*generation{m.active, m.candidate, m.paused}, m.draining, m.killed)
	if m.restarting != nil {
		all = append(all, m.restarting.generation)
	}
	if i := slices.IndexFunc(all, func(g *generation) bool { return g.is(n) }); i >= 0 {
		return all[i]
	}
	return nil
}

// role names the slot that holds generation n; "" if none does.
func (m *Machine) role(n int) Role {
	holds := func(g *generation) bool { return g.is(n) }
	switch {
	case m.active.is(n):
		return RoleActive
	case m.candidate.is(n):
		return RoleCandidate
	case m.paused.is(n):
		return RolePaused
	case m.restarting.is(n):
		return RoleRestarting
	case slices.ContainsFunc(m.draining, holds):
		return RoleDraining
	case slices.ContainsFunc(m.killed, holds):
		return RoleKilled
	}
	return ""
}

func (g *generation) is(n int) bool { return g != nil && g.number == n }

func (r *restart) is(n int) bool { return r != nil && r.generation.is(n) }

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) nextSerial() TimerID {
	m.serial++
	return m.serial
}

func (m *Machine) setTimer(d time.Duration) TimerID {
	t := m.nextSerial()
	m.do(SetTimer{Timer: t, After: d})
	return t
}

func (m *Machine) stopTimer(t *TimerID) {
	if *t != 0 {
		m.do(StopTimer{*t})
		*t = 0
	}
}

func (m *Machine) setDeadline(d time.Duration) {
	m.stopDeadline()
	m.deadline = m.setTimer(d)
}

func (m *Machine) stopDeadline() { m.stopTimer(&m.deadline) }

func numbers(slots ...[]*generation) string {
	text := ""
	for _, g := range slices.Concat(slots...) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprint(g.number)
	}
	return text
}
