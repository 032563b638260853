package upgrade

import (
	"errors"
	"fmt"
	"slices"
)

// Machine decides every step of every upgrade. It is pure: it has no clock,
// does no I/O and knows no goroutine; all it does is Step. It is owned by one
// goroutine.
//
// The role of a generation is the slot that holds it. There is one slot for a
// candidate, so there cannot be two, and the code that handles a failed
// candidate has no reason to mention the active generation. A fact about a
// generation that has left its role, or a timer that was replaced, is late:
// no slot matches it and it yields no action.
type Machine struct {
	policy Policy

	phase    Phase
	deadline TimerID // of the phase
	bakeStep bakeStep
	request  *request
	dry      *request // the dry run under way, beside whatever else goes on

	active     *generation
	candidate  *generation
	paused     *generation
	draining   []*generation
	killed     []*generation
	restarting *restart

	release  *Release // committed: what is restarted after a crash
	previous *Release // committed before it: what rollback starts
	failures int      // restarts in a row that did not last
	stable   TimerID  // when it fires, failures are forgotten

	generations int     // the highest number given, or not to be given
	serial      TimerID // of timers and commands
	stopping    bool
	failure     string // why the supervisor ends by itself
	finished    bool

	out []Action
}

// NewMachine returns a machine that keeps to p.
func NewMachine(p Policy) (*Machine, error) {
	if err := p.Validate(); err != nil {
		return nil, errors.Join(errors.New("cannot use this policy"), err)
	}
	return &Machine{policy: p.WithDefaults(), phase: PhaseIdle}, nil
}

// Step takes one event and returns what is to be done, in order.
func (m *Machine) Step(e Event) []Action {
	m.out = nil
	if m.finished {
		if r, ok := e.(Requested); ok {
			m.refuse(r, "the supervisor has ended")
		}
		return m.out
	}
	m.dispatch(e)
	m.finishIfEmpty()
	return m.out
}

func (m *Machine) dispatch(e Event) {
	switch e := e.(type) {
	case Boot:
		m.boot(e)
	case Requested:
		m.requested(e)
	case StopRequested:
		m.stop(e)
	case Admitted:
		m.admitted(e)
	case NotAdmitted:
		m.notAdmitted(e)
	case HookPassed:
		m.hookPassed(e)
	case HookFailed:
		m.hookFailed(e)
	case TimerFired:
		m.timerFired(e.Timer)
	case SaidReady:
		m.saidReady(e)
	case ProbePassed:
		m.probePassed(e.Generation)
	case GateOpened:
		m.gateOpened(e)
	case SaidPaused:
		m.saidPaused(e)
	case SaidResumed:
		m.saidResumed(e)
	case SaidDrained:
		m.saidDrained(e)
	case SaidFailed:
		m.unfit(e.Generation, "says that it failed: "+e.Reason)
	case ProbeFailed:
		m.unfit(e.Generation, "did not pass its probe: "+e.Reason)
	case GateShut:
		m.unfit(e.Generation, "was not let through the gate: "+e.Reason)
	case Tripped:
		m.unfit(e.Generation, e.Reason)
	case ChannelLost:
		m.channelLost(e)
	case Exited:
		m.exited(e)
	case Recovered:
		m.recovered(e)
	case Rejoined:
		m.rejoined(e)
	}
}

func (m *Machine) boot(e Boot) {
	if m.generations > 0 || m.stopping {
		return
	}
	m.generations, m.previous = e.After, e.Previous
	m.launchCandidate(e.Release)
}

func (m *Machine) requested(e Requested) {
	if reason := m.objection(e); reason != "" {
		m.refuse(e, reason)
		return
	}
	if e.DryRun {
		m.beginDryRun(e)
		return
	}
	if m.request != nil { // a rollback while an upgrade runs undoes that upgrade
		m.request.undo = e.Request
		m.do(Tell{Request: e.Request, Phase: PhaseRollback, Text: fmt.Sprintf("undoes %s %d", m.request.Kind, m.request.Request)})
		m.undo("a rollback was requested")
		return
	}
	r := m.newRequest(e)
	m.request = r
	m.enter(PhaseAdmission, 0, "may the "+string(e.Kind)+" start?")
	if e.Timeout > 0 {
		r.timer = m.setTimer(e.Timeout)
	}
	m.setDeadline(m.policy.AdmissionTimeout)
	m.do(m.admission(e))
}

// newRequest is e as things stand now.
func (m *Machine) newRequest(e Requested) *request {
	r := &request{Requested: e, fromRelease: m.release}
	if m.active != nil {
		r.from = m.active.number
	}
	return r
}

// admission is what to ask about e.
func (m *Machine) admission(e Requested) Admit {
	a := Admit{Request: e.Request, Kind: e.Kind, Program: m.release.Program, Force: e.Force, DryRun: e.DryRun}
	if e.Program != nil {
		a.Program = e.Program.Or(m.release.Program)
	}
	if e.Kind == KindRollback {
		a.Release = m.previous
	}
	return a
}

// objection says why a request cannot be taken now; "" if it can.
func (m *Machine) objection(e Requested) string {
	switch {
	case m.stopping:
		return "the supervisor is stopping"
	case m.release == nil:
		return "the first generation is not ready yet"
	case m.request != nil && (e.Kind != KindRollback || m.request.Kind == KindRollback || m.request.undo != 0 || m.phase == PhaseRollback):
		return fmt.Sprintf("%s %d is running (%s)", m.request.Kind, m.request.Request, m.phase)
	case e.DryRun && m.dry != nil:
		return fmt.Sprintf("dry run %d is under way", m.dry.Request)
	case e.IfGeneration != 0 && m.active == nil:
		return fmt.Sprintf("no generation is active, and the %s was to be done only if generation %d is", e.Kind, e.IfGeneration)
	case e.IfGeneration != 0 && !m.active.is(e.IfGeneration):
		return fmt.Sprintf("generation %d is active, and the %s was to be done only if generation %d is", m.active.number, e.Kind, e.IfGeneration)
	case m.request != nil:
		return ""
	case e.Kind == KindRollback && m.previous == nil:
		return "there is no previous release to go back to (one with another file or other arguments)"
	case len(m.draining)+len(m.killed) >= m.policy.MaxDraining:
		return fmt.Sprintf("%d generations (%s) have not ended yet, and %d is the limit; wait, or lower the drain timeout",
			len(m.draining)+len(m.killed), numbers(m.draining, m.killed), m.policy.MaxDraining)
	}
	return ""
}

func (m *Machine) refuse(e Requested, reason string) {
	m.do(m.answer(m.newRequest(e), Refused, reason))
}

func (m *Machine) admitted(e Admitted) {
	switch {
	case m.phase == PhaseAdmission && m.request.Request == e.Request:
		if m.request.toRelease == nil { // it was not said before
			m.request.toRelease = &e.Release
			if e.Policy != nil {
				before := m.policy
				m.request.policy, m.policy = &before, e.Policy.WithDefaults()
			}
			m.await(HookBeforeStart, 0)
		}
	case m.dry.is(e.Request):
		m.endDryRunWith(e.Release)
	}
}

func (m *Machine) notAdmitted(e NotAdmitted) {
	switch {
	case m.phase == PhaseAdmission && m.request.Request == e.Request && m.request.toRelease == nil:
		m.end(Refused, e.Reason)
	case m.dry.is(e.Request):
		m.endDryRun(Refused, e.Reason)
	}
}

func (m *Machine) launchCandidate(r Release) {
	m.candidate = m.newGeneration(r)
	if m.request != nil {
		m.request.to = m.candidate.number
	}
	m.enter(PhaseStart, m.candidate.number, "starts "+r.String())
	m.setDeadline(m.policy.ReadyTimeout)
	m.do(Launch{m.candidate.number, r})
}

func (m *Machine) saidReady(e SaidReady) {
	switch {
	case m.candidate.is(e.Generation) && m.phase == PhaseStart:
		m.candidate.ready, m.candidate.canPause = true, e.CanPause
		m.enter(PhaseReady, e.Generation, "says ready")
		m.do(ProbeReady{e.Generation})
	case m.restarting.is(e.Generation) && !m.restarting.generation.ready:
		m.restarting.generation.ready, m.restarting.generation.canPause = true, e.CanPause
		m.do(ProbeReady{e.Generation})
	case m.role(e.Generation) == RoleDraining:
		if g := m.find(e.Generation); !g.ready && !g.mute {
			g.ready = true
			m.readyTooLate(g)
		}
	}
}

func (m *Machine) probePassed(n int) {
	switch {
	case m.baking().is(n) && m.bakeStep == bakeProbe:
		m.commit("")
	case m.candidate.is(n) && m.phase == PhaseReady:
		if m.active == nil {
			m.promoteNow("no generation was accepting")
			return
		}
		if m.request.hook == "" { // else it was said before
			m.await(HookAfterReady, n)
		}
	case m.restarting.is(n) && m.restarting.generation.ready:
		m.restarted()
	}
}

// overlap has both accept for a while.
func (m *Machine) overlap() {
	if m.active == nil { // it ended while a hook ran
		m.promoteNow("no generation was accepting")
		return
	}
	m.enter(PhaseOverlap, m.candidate.number, fmt.Sprintf("accepts beside generation %d", m.active.number))
	if m.policy.Overlap > 0 {
		m.setDeadline(m.policy.Overlap)
		return
	}
	m.await(HookBeforeCutOver, m.candidate.number)
}

func (m *Machine) openGate() {
	m.enter(PhaseGate, m.candidate.number, fmt.Sprintf("may generation %d stop accepting?", m.active.number))
	m.setDeadline(m.policy.GateTimeout)
	m.do(OpenGate{m.candidate.number})
}

func (m *Machine) gateOpened(e GateOpened) {
	if m.phase != PhaseGate || !m.candidate.is(e.Generation) {
		return
	}
	m.cancelRestart() // what the candidate is about to replace needs none
	if m.request != nil {
		m.request.from = m.active.number // a restart may have changed it
	}
	switch {
	case m.active.mute:
		m.enter(PhaseCutOver, m.active.number, "cannot be told to pause: both accept until the commit")
		m.bake(m.candidate)
	case m.active.canPause:
		m.enter(PhaseCutOver, m.active.number, "is told to pause: "+e.Reason)
		m.active.command = m.nextSerial()
		m.setDeadline(m.policy.PauseTimeout)
		m.do(Pause{m.active.number, uint64(m.active.command)})
	default:
		m.retire(e.Reason)
	}
}

// retire drains an old generation that cannot pause, which cannot be taken back:
// a rollback starts its release again.
func (m *Machine) retire(why string) {
	old := m.active
	m.enter(PhaseCutOver, old.number, "cannot pause and is told to drain; a rollback would start its release again: "+why)
	m.active, m.candidate = m.candidate, nil
	m.request.retired = old.number
	m.drain(old)
	m.bake(m.active)
}

func (m *Machine) saidPaused(e SaidPaused) {
	if m.phase != PhaseCutOver || !m.active.is(e.Generation) || e.ID != uint64(m.active.command) {
		return
	}
	m.tell(e.Generation, "is paused")
	m.paused, m.active, m.candidate = m.active, m.candidate, nil
	m.bake(m.active)
}

// bake watches n: alone, or beside an old generation that cannot be told to pause.
func (m *Machine) bake(n *generation) {
	m.stopDeadline()
	if m.policy.Bake == 0 {
		m.commit("")
		return
	}
	m.enter(PhaseBake, n.number, fmt.Sprintf("is watched for %v", m.policy.Bake))
	m.setDeadline(m.policy.Bake)
	m.bakeStep = bakeWatch
	m.do(WatchBake{n.number})
}

// bakeTimeout does not take a quiet watch for a good sign: a watch that came to
// see nothing, because the machine slept or was too busy, has found nothing
// wrong either, and an exit may be on its way. So the new generation is asked
// for a sign of life, then looked at once more.
func (m *Machine) bakeTimeout() {
	g := m.baking()
	switch m.bakeStep {
	case bakeWatch:
		if !g.canPause {
			m.confirmBake(g)
			return
		}
		m.bakeStep = bakeAnswer
		g.command = m.nextSerial()
		m.setDeadline(m.policy.PauseTimeout)
		m.do(Resume{g.number, uint64(g.command)}) // it accepts already: only the answer matters
	case bakeAnswer:
		m.undo(fmt.Sprintf("generation %d did not answer within %v at the end of its bake", g.number, m.policy.PauseTimeout))
	case bakeProbe:
		m.undo(fmt.Sprintf("generation %d could not be seen to be well within %v at the end of its bake", g.number, m.policy.GateTimeout))
	}
}

func (m *Machine) confirmBake(g *generation) {
	m.bakeStep = bakeProbe
	m.setDeadline(m.policy.GateTimeout)
	m.do(ConfirmBake{g.number})
}

// baking is the generation that is watched; nil outside the bake.
func (m *Machine) baking() *generation {
	switch {
	case m.phase != PhaseBake:
		return nil
	case m.candidate != nil:
		return m.candidate
	}
	return m.active
}

// commit makes the new generation's release the one that counts, and drains
// the old generation: the paused one, or the active one if it could not be told
// to pause. One that was retired drains already.
func (m *Machine) commit(note string) {
	old := m.paused
	if m.candidate != nil {
		old, m.active, m.candidate = m.active, m.candidate, nil
	}
	m.paused = nil
	m.do(Unwatch{m.active.number})
	m.cancelRestart()
	if m.release == nil || !m.release.Same(m.active.release) { // a repeated upgrade leaves the way back as it is
		m.previous = m.release
	}
	m.release = &m.active.release
	m.failures = 0
	reason := fmt.Sprintf("generation %d is active", m.active.number)
	if note != "" {
		reason += ": " + note
	}
	if old == nil {
		m.endAfter(m.retired(), Committed, reason)
		return
	}
	m.enter(PhaseCommit, old.number, "is told to drain")
	m.drain(old)
	m.endAfter(old, Committed, reason)
}

// promoteNow commits a candidate that is ready without a cut-over, because
// there is nothing to cut over from.
func (m *Machine) promoteNow(why string) {
	if m.release == nil { // the first generation of all
		m.active, m.candidate = m.candidate, nil
		m.release = &m.active.release
		m.stopDeadline()
		m.phase = PhaseIdle
		m.tell(m.active.number, "is active")
		return
	}
	m.commit(why + ", so it was promoted at once")
}

// unfit handles everything that makes a generation unfit to go on.
func (m *Machine) unfit(n int, what string) {
	reason := fmt.Sprintf("generation %d %s", n, what)
	switch {
	case m.candidate.is(n):
		m.undo(reason)
	case m.baking().is(n):
		m.undo(reason)
	case m.active.is(n):
		m.warn(reason)
	case m.restarting.is(n):
		g := m.restarting.generation
		m.restarting.generation = nil
		m.discard(g)
		m.restartFailed(reason)
	}
}

// undo ends the upgrade under way in the manner that its phase demands.
func (m *Machine) undo(reason string) {
	switch m.phase {
	case PhaseAdmission:
		m.end(Refused, reason)
	case PhaseStart, PhaseReady, PhaseOverlap, PhaseGate:
		m.abort(reason)
	case PhaseCutOver:
		m.resume(m.active, reason) // the pause may be on its way
	case PhaseBake:
		switch {
		case m.paused != nil:
			m.resume(m.paused, reason)
		case m.candidate != nil:
			m.abort(reason)
		default:
			m.replaceRetired(reason)
		}
	}
}

// replaceRetired starts the release of a retired generation again. The failed one,
// if it lives, goes on accepting meanwhile: a bad server is better than none.
func (m *Machine) replaceRetired(reason string) {
	m.request.reason = fmt.Sprintf("%s; generation %d had been told to drain", reason, m.request.retired)
	if m.active != nil {
		m.do(Unwatch{m.active.number})
	}
	m.stopDeadline()
	m.enter(PhaseRollback, m.request.retired, "had been told to drain, so its release is started again: "+reason)
	m.restarting = &restart{reason: reason}
	m.launchRestart()
}

func (m *Machine) abort(reason string) {
	if m.release == nil { // the first generation of all
		m.failure = "the first generation cannot become ready: " + reason
		m.stop(StopRequested{})
		return
	}
	failed := m.candidate
	m.candidate = nil
	m.discard(failed)
	m.endAfter(failed, Aborted, reason)
}

// resume puts the old generation back; only then is the new one stopped.
func (m *Machine) resume(old *generation, reason string) {
	if m.request != nil {
		m.request.reason = reason
	}
	if m.active != nil {
		m.do(Unwatch{m.active.number})
	}
	m.enter(PhaseRollback, old.number, "resumes: "+reason)
	old.command = m.nextSerial()
	m.setDeadline(m.policy.PauseTimeout)
	if !old.mute { // or else it hears it when it has rejoined
		m.do(Resume{old.number, uint64(old.command)})
	}
}

func (m *Machine) saidResumed(e SaidResumed) {
	if g := m.baking(); g.is(e.Generation) && m.bakeStep == bakeAnswer && e.ID == uint64(g.command) {
		m.confirmBake(g)
		return
	}
	if m.phase != PhaseRollback {
		return
	}
	switch {
	case m.paused.is(e.Generation) && e.ID == uint64(m.paused.command):
		failed := m.active
		m.active, m.paused = m.paused, nil
		m.discard(failed)
		m.endAfter(failed, RolledBack, m.request.reason)
	case m.active.is(e.Generation) && m.paused == nil && m.restarting == nil && e.ID == uint64(m.active.command):
		m.abort(m.request.reason)
	}
}

// notResumed: the old generation did not answer, or is gone. Its release is
// started anew while the failed one, if it lives, goes on accepting.
func (m *Machine) notResumed(why string) {
	m.stopDeadline()
	m.request.reason += "; " + why
	m.tell(0, why+"; its release is started again")
	m.restarting = &restart{reason: why}
	m.launchRestart()
}

func (m *Machine) channelLost(e ChannelLost) {
	if g := m.find(e.Generation); g != nil {
		g.mute = true
	}
	switch {
	case m.active.is(e.Generation) && m.phase == PhaseCutOver && m.candidate != nil:
		m.tell(e.Generation, e.Reason+" instead of pausing: both accept until the commit")
		m.bake(m.candidate)
	case m.paused.is(e.Generation) && m.phase == PhaseBake:
		// A generation without a channel accepts, whatever it was told before
		// (docs/protocol.md): the bake goes on with both accepting.
		m.candidate, m.active, m.paused = m.active, m.paused, nil
		m.tell(e.Generation, e.Reason+" while it was paused: both accept until the commit")
	case m.paused.is(e.Generation) && m.phase == PhaseRollback:
		old := m.paused
		m.paused = nil
		m.discard(old)
		m.notResumed(fmt.Sprintf("generation %d %s instead of resuming", e.Generation, e.Reason))
	default:
		m.unfit(e.Generation, e.Reason)
	}
}

func (m *Machine) exited(e Exited) {
	reason := fmt.Sprintf("generation %d %s", e.Generation, e.Reason)
	switch {
	case m.candidate.is(e.Generation):
		m.candidate = nil
		m.undo(reason)
	case m.active.is(e.Generation):
		m.lostActive(reason)
	case m.paused.is(e.Generation):
		m.lostPaused(reason)
	case m.restarting.is(e.Generation):
		m.stopTimer(&m.restarting.timer)
		m.restarting.generation = nil
		m.restartFailed(reason)
	default:
		m.lostOther(e)
	}
}

func (m *Machine) lostActive(reason string) {
	m.active = nil
	m.warn(reason)
	switch {
	case m.phase == PhaseBake && m.candidate == nil:
		m.undo(reason)
	case m.paused != nil: // it is being resumed already
	case m.candidate != nil && (slices.Contains([]Phase{PhaseOverlap, PhaseGate, PhaseCutOver, PhaseBake}, m.phase) || m.request != nil && m.request.hook == HookAfterReady):
		m.promoteNow(reason)
	case m.phase == PhaseRollback && m.candidate != nil:
		// It was about to be discarded, but a bad server is better than none.
		m.active, m.candidate = m.candidate, nil
		m.notResumed(reason)
	case m.phase == PhaseRollback && m.restarting == nil:
		m.backOff(reason)
		m.abort(m.request.reason + "; " + reason)
	case m.restarting == nil:
		m.backOff(reason)
	}
}

func (m *Machine) lostPaused(reason string) {
	m.paused = nil
	if m.phase == PhaseRollback {
		m.notResumed(reason)
		return
	}
	m.commit(reason + ", so there is nothing to go back to")
}

// lostOther takes a draining or killed generation out of the books.
func (m *Machine) lostOther(e Exited) {
	for _, slot := range []*[]*generation{&m.draining, &m.killed} {
		i := slices.IndexFunc(*slot, func(g *generation) bool { return g.is(e.Generation) })
		if i < 0 {
			continue
		}
		g := (*slot)[i]
		*slot = slices.Delete(*slot, i, i+1)
		m.stopTimer(&g.timer)
		end := g.endOf(e)
		if r := m.request; r != nil && g.is(r.retired) {
			r.drained = end
		}
		if r := g.waiter; r != nil {
			r.drained = end
			m.do(m.answer(r, r.verdict, r.reason))
		}
	}
}

// backOff waits before the next attempt: longer with every failure.
func (m *Machine) backOff(reason string) {
	m.stopTimer(&m.stable)
	pause := m.policy.BackoffMax
	if m.failures < 30 {
		pause = min(pause, m.policy.BackoffMin<<m.failures)
	}
	m.failures++
	m.restarting = &restart{timer: m.nextSerial(), reason: reason}
	m.tell(0, fmt.Sprintf("the service is started again within %v", pause))
	m.do(SetTimer{Timer: m.restarting.timer, After: pause, Jitter: true})
}

func (m *Machine) launchRestart() {
	g := m.newGeneration(*m.release)
	m.restarting.generation = g
	m.restarting.timer = m.setTimer(m.policy.ReadyTimeout)
	m.tell(g.number, "starts "+g.release.String()+" again")
	m.do(Launch{g.number, g.release})
}

func (m *Machine) restarted() {
	g := m.restarting.generation
	m.stopTimer(&m.restarting.timer)
	m.restarting = nil
	failed := m.active
	m.active = g
	m.discard(failed)
	m.stopTimer(&m.stable)
	m.stable = m.setTimer(m.policy.StableAfter)
	m.tell(g.number, "is active")
	if m.request != nil && m.phase != PhaseRollback {
		m.request.from = g.number
	}
	if m.phase == PhaseRollback {
		m.endAfter(failed, RolledBack, fmt.Sprintf("%s; its release runs again as generation %d", m.request.reason, g.number))
	}
}

func (m *Machine) restartFailed(reason string) {
	m.stopTimer(&m.restarting.timer)
	m.warn(reason)
	m.backOff(reason)
	if m.phase == PhaseRollback {
		m.end(RolledBack, fmt.Sprintf("%s; then %s; it is tried again", m.request.reason, reason))
	}
}

func (m *Machine) cancelRestart() {
	if m.restarting == nil {
		return
	}
	m.stopTimer(&m.restarting.timer)
	m.discard(m.restarting.generation)
	m.restarting = nil
}

// discard ends a generation that is not wanted any more: gently if it may hold
// connections.
func (m *Machine) discard(g *generation) {
	if g == nil {
		return
	}
	m.do(Unwatch{g.number})
	if g.ready {
		m.drain(g)
		return
	}
	m.draining = append(m.draining, g)
	if !g.mute { // it may accept although it has not said so: it shall not go on
		g.command = m.nextSerial()
		m.do(Drain{Generation: g.number, ID: uint64(g.command), Deadline: m.policy.StopGrace, Final: m.stopping})
	}
	m.terminate(g)
}

// drain is final when the supervisor stops: then nobody else will accept.
func (m *Machine) drain(g *generation) {
	m.draining = append(m.draining, g)
	m.allowDrain(g)
}

// readyTooLate lets a generation finish what it has accepted that was told to end
// quickly, because it was not known to have accepted anything. A stop has its own
// time, and is not made longer.
func (m *Machine) readyTooLate(g *generation) {
	if m.stopping {
		return
	}
	g.terminated = false
	m.stopTimer(&g.timer)
	m.allowDrain(g)
}

// allowDrain gives g the time that a drain has, from now on.
func (m *Machine) allowDrain(g *generation) {
	g.timer = m.setTimer(m.policy.DrainTimeout + m.policy.StopGrace)
	if g.mute {
		m.do(Terminate{g.number})
		return
	}
	g.command = m.nextSerial()
	m.do(Drain{Generation: g.number, ID: uint64(g.command), Deadline: m.policy.DrainTimeout, Final: m.stopping})
}

func (m *Machine) terminate(g *generation) {
	m.stopTimer(&g.timer)
	g.terminated = true
	g.timer = m.setTimer(m.policy.StopGrace)
	m.do(Terminate{g.number})
}

func (m *Machine) kill(g *generation) {
	m.stopTimer(&g.timer)
	g.terminated = true
	m.draining = slices.DeleteFunc(m.draining, func(d *generation) bool { return d == g })
	m.killed = append(m.killed, g)
	m.do(Kill{g.number})
}

func (m *Machine) saidDrained(e SaidDrained) {
	for _, g := range m.draining {
		if g.is(e.Generation) && e.ID == uint64(g.command) && !g.drained && !g.terminated {
			g.drained, g.cut, g.cutUnknown = true, e.Cut, e.CutUnknown
			m.stopTimer(&g.timer)
			g.timer = m.setTimer(m.policy.StopGrace)
		}
	}
}

// stop ends every generation; the supervisor finishes when the last is gone.
func (m *Machine) stop(e StopRequested) {
	if !m.stopping {
		m.stopping = true
		m.endForStop()
		m.endDryRun(Refused, "the supervisor was told to stop")
		m.do(CloseListeners{})
		m.cancelRestart()
		m.stopTimer(&m.stable)
		candidate, serving := m.candidate, []*generation{m.active, m.paused}
		m.active, m.candidate, m.paused = nil, nil, nil
		for _, g := range serving {
			if g != nil {
				m.drain(g)
			}
		}
		m.discard(candidate)
	}
	if e.Now {
		for _, g := range slices.Clone(m.draining) {
			m.kill(g)
		}
	}
}

func (m *Machine) endForStop() {
	if m.active != nil && m.phase == PhaseBake {
		m.do(Unwatch{m.active.number})
	}
	verdict := Aborted
	switch {
	case m.phase == PhaseAdmission:
		verdict = Refused
	case m.paused != nil, m.phase == PhaseBake && m.candidate == nil:
		verdict = RolledBack
	}
	m.end(verdict, "the supervisor was told to stop")
}

func (m *Machine) finishIfEmpty() {
	if m.stopping && len(m.draining) == 0 && len(m.killed) == 0 {
		m.finished = true
		m.do(Finish{m.failure})
	}
}

func (m *Machine) timerFired(t TimerID) {
	switch {
	case t == 0:
	case t == m.deadline:
		m.deadline = 0
		m.phaseTimeout()
	case m.request != nil && t == m.request.timer:
		m.request.timer = 0
		m.undo(fmt.Sprintf("no verdict within the %v that the caller allowed", m.request.Timeout))
	case m.dry != nil && t == m.dry.timer:
		m.dry.timer = 0
		m.endDryRun(Refused, fmt.Sprintf("admission took longer than %v", m.dryRunLimit(m.dry.Requested)))
	case m.restarting != nil && t == m.restarting.timer:
		m.restarting.timer = 0
		m.restartTimeout()
	case t == m.stable:
		m.stable, m.failures = 0, 0
	default:
		for _, g := range m.draining {
			if g.timer == t {
				g.timer = 0
				m.drainTimeout(g)
				return
			}
		}
	}
}

func (m *Machine) phaseTimeout() {
	if r := m.request; r != nil && r.hook != "" {
		m.undo(fmt.Sprintf("the hook %s did not end within %v", r.hook, m.policy.Hooks.of(r.hook)))
		return
	}
	switch m.phase {
	case PhaseAdmission:
		m.end(Refused, fmt.Sprintf("admission took longer than %v", m.policy.AdmissionTimeout))
	case PhaseStart:
		m.undo(fmt.Sprintf("generation %d did not say ready within %v", m.candidate.number, m.policy.ReadyTimeout))
	case PhaseReady:
		m.undo(fmt.Sprintf("generation %d did not pass its probe within %v of its start", m.candidate.number, m.policy.ReadyTimeout))
	case PhaseOverlap:
		m.await(HookBeforeCutOver, m.candidate.number)
	case PhaseGate:
		m.undo(fmt.Sprintf("the gate did not open within %v", m.policy.GateTimeout))
	case PhaseCutOver:
		m.pauseTimeout()
	case PhaseBake:
		m.bakeTimeout()
	case PhaseRollback:
		m.resumeTimeout()
	}
}

func (m *Machine) pauseTimeout() {
	why := fmt.Sprintf("generation %d did not pause within %v", m.active.number, m.policy.PauseTimeout)
	if m.request.Force {
		m.commit(why + " and was drained instead, as forced")
		return
	}
	m.undo(why + "; it may hang: use force to replace it all the same")
}

func (m *Machine) resumeTimeout() {
	if m.paused == nil { // it was never known to pause: nothing more to wait for
		m.abort(m.request.reason)
		return
	}
	old := m.paused
	m.paused = nil
	m.discard(old)
	m.notResumed(fmt.Sprintf("generation %d did not resume within %v", old.number, m.policy.PauseTimeout))
}

func (m *Machine) restartTimeout() {
	if m.restarting.generation == nil {
		m.launchRestart()
		return
	}
	m.unfit(m.restarting.generation.number, fmt.Sprintf("did not become ready within %v", m.policy.ReadyTimeout))
}

func (m *Machine) drainTimeout(g *generation) {
	if g.terminated || g.mute {
		m.kill(g)
		return
	}
	m.terminate(g)
}

// enter begins a phase.
func (m *Machine) enter(p Phase, generation int, text string) {
	m.phase = p
	m.tell(generation, text)
}

// tell reports progress to whoever waits for the upgrade under way.
func (m *Machine) tell(generation int, text string) {
	t := Tell{Phase: m.phase, Generation: generation, Text: text}
	if m.request != nil {
		t.Request = m.request.Request
	}
	m.do(t)
}

// warn tells of something that should not have happened.
func (m *Machine) warn(text string) {
	m.tell(0, text)
	t := m.out[len(m.out)-1].(Tell)
	t.Trouble = true
	m.out[len(m.out)-1] = t
}

// leave ends the upgrade under way without a reply, but answers whoever asked
// to undo it.
func (m *Machine) leave(v Verdict) *request {
	r := m.request
	m.stopDeadline()
	m.stopTimer(&r.timer)
	r.hook = ""
	m.request, m.phase = nil, PhaseIdle
	if r.policy != nil && v != Committed {
		m.policy = *r.policy
	}
	if r.undo != 0 {
		m.do(m.undone(r, v))
	}
	return r
}

// endAfter ends the upgrade under way; a caller who waits for the drain gets
// the reply only when g, which lost its role, has ended.
func (m *Machine) endAfter(g *generation, v Verdict, reason string) {
	if g == nil || m.request == nil || !m.request.WaitDrain {
		m.end(v, reason)
		return
	}
	m.request.verdict, m.request.reason = v, reason
	m.follow(m.request, v, reason)
	m.do(Decide{m.request.Request, v, m.request.to})
	g.waiter = m.leave(v)
	m.do(Tell{Request: g.waiter.Request, Phase: PhaseDrain, Generation: g.number, Text: "drains; its end is waited for"})
}

// end ends the upgrade under way, if there is one, with its reply.
func (m *Machine) end(v Verdict, reason string) {
	m.stopDeadline()
	if m.request == nil {
		m.phase = PhaseIdle
		return
	}
	r := m.leave(v)
	m.follow(r, v, reason)
	m.do(m.answer(r, v, reason))
}
