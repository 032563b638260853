package upgrade

import (
	"fmt"
	"slices"
)

// HandOverObjection says why another binary cannot be executed in the
// supervisor's place now; "" if it can. Generations that drain or are killed,
// callers who wait for them and a back-off are no obstacle: all of that goes on
// where it was.
func (m *Machine) HandOverObjection() string {
	switch {
	case m.finished:
		return "the supervisor has ended"
	case m.stopping:
		return "the supervisor is stopping"
	case m.release == nil:
		return "the first generation is not ready yet"
	case m.request != nil:
		return fmt.Sprintf("%s %d is running (%s)", m.request.Kind, m.request.Request, m.phase)
	case m.dry != nil:
		return fmt.Sprintf("dry run %d is under way", m.dry.Request)
	case m.restarting != nil && m.restarting.generation != nil:
		return fmt.Sprintf("generation %d is being started in place of one that ended", m.restarting.generation.number)
	}
	return ""
}

// recovered settles what a supervisor that was killed left open. Of its timers
// none exists any more, and how much of them was over is not known: those that
// are still needed are set anew, in full, so that a drain may take up to twice
// its time. Whatever was to be done last may have been done or not, so it is
// done again.
//
// Nobody has watched the candidate of an upgrade meanwhile, and what was
// measured of it is lost. So the upgrade is undone as long as there is an old
// generation to go on with, and the restart of a generation begins anew.
func (m *Machine) recovered(e Recovered) {
	stable := m.stable != 0
	m.forgetTimers()
	m.endDryRun(Refused, "the supervisor was killed during the admission")
	if m.stopping {
		m.do(CloseListeners{}) // as the new supervisor has got them anew
	}
	if m.generations == 0 {
		return
	}
	i := m.interrupted()
	i.goesOn = m.count(e.Survivors)
	if m.stopping {
		return
	}
	switch m.phase {
	case PhaseIdle:
	case PhaseAdmission:
		m.end(Refused, i.why)
	case PhaseRollback:
		m.rollBackAgain(i)
	default:
		m.settle(i)
	}
	if !m.stopping {
		m.serveAgain(i.goesOn)
	}
	if stable && m.stable == 0 && m.active != nil {
		m.stable = m.setTimer(m.policy.StableAfter)
	}
}

func (m *Machine) forgetTimers() {
	m.deadline, m.stable = 0, 0
	if m.request != nil {
		m.request.timer = 0
	}
	if m.dry != nil {
		m.dry.timer = 0
	}
	if m.restarting != nil {
		m.restarting.timer = 0
	}
	for _, g := range m.draining {
		g.timer = 0
	}
}

// interruption is what the death of the supervisor interrupted.
type interruption struct {
	why string // a verdict's reason
	// old is the generation to go back to, young the one that was to replace
	// it, as far as they were there; paused tells that old had paused.
	old, young *generation
	paused     bool
	// retired is the number of an old generation that cannot pause and was told
	// to drain; old is nil then.
	retired int
	// goesOn tells of a generation whether it lives and goes on accepting.
	goesOn func(*generation) bool
}

func (m *Machine) interrupted() interruption {
	during := string(m.phase)
	if m.phase == PhaseReady {
		during = "probe"
	}
	i := interruption{why: "the supervisor was killed during the " + during}
	switch {
	case m.paused != nil:
		i.old, i.young, i.paused = m.paused, m.active, true
	case m.phase == PhaseRollback && m.restarting != nil: // the old one is started anew
		i.young = m.active
	case m.phase == PhaseBake && m.candidate == nil:
		i.young, i.retired = m.active, m.request.retired
	default:
		i.old, i.young = m.active, m.candidate
	}
	return i
}

// count takes the dead out of their slots, notes what the living said, and ends
// anew those that were being ended. It returns what tells of a generation
// whether it will go on accepting.
func (m *Machine) count(survivors []Survivor) (goesOn func(*generation) bool) {
	var dead []int
	var late []*generation
	going := map[*generation]bool{}
	for _, g := range m.all {
		i := slices.IndexFunc(survivors, func(s Survivor) bool { return s.Generation == g.number })
		if i < 0 {
			dead = append(dead, g.number)
			continue
		}
		if g.heard(survivors[i]) && m.role(g.number) == RoleDraining {
			late = append(late, g)
		}
		going[g] = !survivors[i].Draining
	}
	for _, n := range dead {
		m.bury(n)
	}
	for _, g := range m.draining {
		m.endAgain(g)
	}
	for _, g := range late {
		m.readyTooLate(g)
	}
	for _, g := range m.killed {
		m.do(Kill{g.number})
	}
	return func(g *generation) bool { return g != nil && going[g] }
}

// heard notes what a generation says of itself, and reports whether it is news that
// it is ready.
func (g *generation) heard(s Survivor) (becameReady bool) {
	g.mute = s.Mute
	if s.Mute {
		return false
	}
	becameReady = s.Ready && !g.ready
	g.canPause, g.ready = s.CanPause, g.ready || s.Ready
	return becameReady
}

// bury takes a generation out of its slot; what follows is for others to decide.
func (m *Machine) bury(n int) {
	switch {
	case m.active.is(n):
		m.active = nil
	case m.candidate.is(n):
		m.candidate = nil
	case m.paused.is(n):
		m.paused = nil
	case m.restarting.is(n):
		m.restarting.generation = nil
	default:
		m.lostOther(Exited{Generation: n, Reason: "ended while there was no supervisor"})
		return
	}
	m.warn(fmt.Sprintf("generation %d ended while there was no supervisor", n))
}

// endAgain has a generation end that was being ended.
func (m *Machine) endAgain(g *generation) {
	limit := m.policy.DrainTimeout + m.policy.StopGrace
	if g.terminated || g.drained {
		limit = m.policy.StopGrace
	}
	g.timer = m.setTimer(limit)
	if !g.mute {
		m.drainAgain(g)
	}
	if g.terminated || g.mute && !g.drained {
		m.do(Terminate{g.number})
	}
}

// drainAgain tells a draining generation so that may not have heard it. It does
// not change how long the generation may take.
func (m *Machine) drainAgain(g *generation) {
	if g.drained {
		return
	}
	limit := m.policy.DrainTimeout
	if g.terminated {
		limit = m.policy.StopGrace
	}
	g.command = m.nextSerial()
	m.do(Drain{Generation: g.number, ID: uint64(g.command), Deadline: limit, Final: m.stopping, Again: true})
}

// settle ends an upgrade of which nothing has been undone yet, or begins to undo
// it: the old generation goes on if it can, or else the new one.
func (m *Machine) settle(i interruption) {
	switch {
	case i.goesOn(i.old) && (i.paused || m.phase == PhaseCutOver):
		m.resume(i.old, i.why)
	case i.goesOn(i.old):
		m.abort(i.why)
	case i.goesOn(i.young) && i.paused:
		m.commit(fmt.Sprintf("%s, and generation %d cannot go on", i.why, i.old.number))
	case i.goesOn(i.young) && i.retired != 0:
		m.commit(fmt.Sprintf("%s, and generation %d was told to drain", i.why, i.retired))
	case i.goesOn(i.young) && i.young.ready:
		m.promoteNow(i.why)
	case i.paused || i.retired != 0:
		m.request.reason = i.why
		m.phase = PhaseRollback
		m.startOld("neither generation can go on")
	default:
		m.abort(i.why)
	}
}

// rollBackAgain goes on with a rollback: the new generation was found wanting,
// so it is not taken for good now.
func (m *Machine) rollBackAgain(i interruption) {
	m.request.reason += "; " + i.why
	r := m.restarting
	switch {
	case i.goesOn(i.old):
		m.resume(i.old, m.request.reason)
	case r != nil && r.generation != nil && r.generation.ready && i.goesOn(r.generation):
		m.restarted()
	case r != nil:
		m.startOld("the start of its release did not come to an end")
	case i.paused:
		m.startOld(fmt.Sprintf("generation %d cannot go on", i.old.number))
	case i.goesOn(i.young): // a bad server is better than none
		m.leaveActive()
		m.active, m.candidate = m.candidate, nil
		m.startOld(fmt.Sprintf("generation %d cannot go on", i.old.number))
	default:
		m.abort(m.request.reason)
	}
}

// startOld starts the old release anew, in place of whatever is left of the old
// generation and of an earlier start.
func (m *Machine) startOld(why string) {
	old := m.paused
	m.paused = nil
	m.discard(old)
	if m.restarting != nil {
		m.discard(m.restarting.generation)
	}
	m.notResumed(why)
}

// serveAgain has somebody accept. The death of the supervisor is no fault of the
// service, so there is no back-off.
func (m *Machine) serveAgain(goesOn func(*generation) bool) {
	if !goesOn(m.active) {
		m.leaveActive()
	}
	if !goesOn(m.candidate) {
		failed := m.candidate
		m.candidate = nil
		m.discard(failed)
	}
	switch r := m.restarting; {
	case m.phase == PhaseRollback: // has seen to it
	case r != nil && r.generation != nil && r.generation.ready && goesOn(r.generation):
		m.restarted()
	case r != nil:
		m.discard(r.generation)
		m.restarting = &restart{reason: r.reason}
		m.launchRestart()
	case m.active == nil:
		m.restarting = &restart{reason: "it ended while there was no supervisor"}
		m.launchRestart()
	default:
		m.resumeActive()
	}
}

// leaveActive lets an active generation go that drains of its own accord.
func (m *Machine) leaveActive() {
	if g := m.active; g != nil {
		m.active = nil
		m.warn(fmt.Sprintf("generation %d drains although nobody told it to", g.number))
		m.drain(g)
	}
}

// resumeActive makes sure that the active generation accepts. It does so by
// itself since its channel ended, so that nobody waits for the answer.
func (m *Machine) resumeActive() {
	if g := m.active; g.canPause && !g.mute {
		g.command = m.nextSerial()
		m.do(Resume{g.number, uint64(g.command)})
	}
}

// rejoined: a generation that could not be spoken to can be again, and hears
// what it has missed.
func (m *Machine) rejoined(e Rejoined) {
	g := m.find(e.Generation)
	if g == nil || !g.mute {
		return
	}
	becameReady := g.heard(Survivor{Ready: e.Ready, CanPause: e.CanPause})
	switch role := m.role(e.Generation); {
	case role == RoleDraining:
		m.drainAgain(g)
		if becameReady {
			m.readyTooLate(g)
		}
	case role == RoleCandidate && e.Draining: // only a rollback has one that was mute
		m.candidate = nil
		m.discard(g)
	case role == RolePaused && e.Draining:
		m.startOld(fmt.Sprintf("generation %d drains although nobody told it to", e.Generation))
	case role == RolePaused:
		g.command = m.nextSerial()
		m.do(Resume{g.number, uint64(g.command)})
	case role == RoleActive && e.Draining:
		m.lostActive(fmt.Sprintf("generation %d drains although nobody told it to", e.Generation))
		m.drain(g)
	case role == RoleActive:
		m.resumeActive()
	}
}
