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
	cutUnknown bool
	waiter     *request // is answered when this generation has ended
}

// request is the upgrade under way.
type request struct {
	Requested
	timer       TimerID
	hook        Hook    // that is awaited
	hooked      bool    // one has begun
	undo        uint64  // the rollback request that undoes this one; 0 if none
	reason      string  // why it is being undone, or ended as it did
	verdict     Verdict // once only the end of a generation is waited for
	from, to    int
	fromRelease *Release
	toRelease   *Release
	policy      *Policy   // what held before it; nil: it has not changed
	retired     int       // the old generation, if it cannot pause and was told to drain
	drained     *drainEnd // of the old generation, if that has ended
}

// drainEnd is how the drain of a generation ended.
type drainEnd struct {
	cut        int
	cutUnknown bool
}

// endOf is how the drain of g ended, which has. What one that was told to end twice,
// or was killed, had open when it was last looked at, it has cut. One that exits by
// itself, though with a status, may have finished that.
func (g *generation) endOf(e Exited) *drainEnd {
	switch {
	case g.drained && !g.cutUnknown, e.Clean && !g.drained && !g.terminated && !g.mute:
		return &drainEnd{cut: g.cut}
	case e.OpenKnown && (e.Open == 0 || g.terminated || e.Killed):
		return &drainEnd{cut: e.Open}
	}
	return &drainEnd{cutUnknown: true}
}

// retired is the old generation that drains since the cut-over; nil if there is
// none, or not any more.
func (m *Machine) retired() *generation {
	if m.request == nil || m.request.retired == 0 {
		return nil
	}
	return m.find(m.request.retired)
}

// bakeStep is how far a bake is.
type bakeStep int

const (
	bakeWatch  bakeStep = iota // it is watched
	bakeAnswer                 // its time is over, and a sign of life is awaited
	bakeProbe                  // and then one more good look
)

// restart takes the place of an active generation that ended: first a
// back-off, then a generation that starts.
type restart struct {
	generation *generation // nil during the back-off
	timer      TimerID
	reason     string // why the active generation is down
}

// answer is the reply to r as things stand now.
func (m *Machine) answer(r *request, v Verdict, reason string) Reply {
	reply := Reply{Request: r.Request, Kind: r.Kind, Verdict: v, Reason: reason, Forced: r.Force, DryRun: r.DryRun,
		From: r.from, To: r.to, FromRelease: r.fromRelease, ToRelease: r.toRelease}
	if m.active != nil {
		reply.Active = m.active.number
	}
	if r.WaitDrain && r.drained != nil {
		reply.Drained, reply.Cut, reply.CutUnknown = true, r.drained.cut, r.drained.cutUnknown
	}
	return reply
}

// undone is the reply to the rollback that was to undo r, which ended with v. The old
// release may run as another generation by now.
func (m *Machine) undone(r *request, v Verdict) Reply {
	reply := Reply{Request: r.undo, Kind: KindRollback, From: r.to, FromRelease: r.toRelease}
	if m.active != nil {
		reply.Active = m.active.number
	}
	switch {
	case m.stopping:
		reply.Verdict, reply.Reason = Refused, "the supervisor was told to stop"
	case v == Committed:
		reply.Verdict, reply.Reason = Refused, fmt.Sprintf("%s %d was committed before it could be undone", r.Kind, r.Request)
	default:
		reply.Verdict, reply.Reason = Committed, fmt.Sprintf("%s %d was undone", r.Kind, r.Request)
		reply.To, reply.ToRelease = r.from, r.fromRelease
		if m.active != nil && m.active.number != r.to {
			reply.To = m.active.number
		}
	}
	return reply
}

func (m *Machine) newGeneration(r Release) *generation {
	m.generations++
	return &generation{number: m.generations, release: r}
}

// all yields every generation with the slot that holds it.
func (m *Machine) all(yield func(Role, *generation) bool) {
	one := func(r Role, g *generation) bool { return g == nil || yield(r, g) }
	if !one(RoleActive, m.active) || !one(RoleCandidate, m.candidate) || !one(RolePaused, m.paused) {
		return
	}
	if m.restarting != nil && !one(RoleRestarting, m.restarting.generation) {
		return
	}
	for _, g := range m.draining {
		if !yield(RoleDraining, g) {
			return
		}
	}
	for _, g := range m.killed {
		if !yield(RoleKilled, g) {
			return
		}
	}
}

// find returns generation n; nil if no slot holds it.
func (m *Machine) find(n int) *generation {
	for _, g := range m.all {
		if g.number == n {
			return g
		}
	}
	return nil
}

// role names the slot that holds generation n; "" if none does.
func (m *Machine) role(n int) Role {
	for role, g := range m.all {
		if g.number == n {
			return role
		}
	}
	return ""
}

// starting is the generation that is to become ready; 0 if there is none.
func (m *Machine) starting() int {
	if m.candidate != nil && !m.candidate.ready {
		return m.candidate.number
	}
	return 0
}

func (g *generation) is(n int) bool { return g != nil && g.number == n }

func (r *request) is(n uint64) bool { return r != nil && r.Request == n }

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
