package upgrade

import (
	"fmt"
	"slices"
)

// State returns all that m knows, as a copy that shares nothing with it. It is
// asked for between two steps. A machine that has finished has no more to hand
// on than that it was stopping.
func (m *Machine) State() MachineState {
	s := MachineState{
		Phase: m.phase, Deadline: m.deadline, BakeStep: int(m.bakeStep), Request: m.request.state(), DryRun: m.dry.state(),
		Active: m.active.state(), Candidate: m.candidate.state(), Paused: m.paused.state(),
		Draining: states(m.draining), Killed: states(m.killed),
		Release: m.release.copy(), Previous: m.previous.copy(), Failures: m.failures, Stable: m.stable,
		Generations: m.generations, Serial: m.serial, Stopping: m.stopping, Failure: m.failure,
	}
	if r := m.restarting; r != nil {
		s.Restarting = &RestartState{Generation: r.generation.state(), Timer: r.timer, Reason: r.reason}
	}
	return s
}

// RestoreMachine returns the machine whose state s is, keeping to p. It refuses
// what no machine comes to, because s may be from a file that somebody wrote:
// the error names it. The timers of s are taken to be set still; a machine for
// which they are not is told Recovered before anything else.
func RestoreMachine(p Policy, s MachineState) (*Machine, error) {
	m, err := NewMachine(p)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("cannot restore the state of the upgrades: %w", err)
	}
	m.phase, m.deadline, m.bakeStep, m.request = s.Phase, s.Deadline, bakeStep(s.BakeStep), s.Request.restore()
	m.dry = s.DryRun.restore()
	m.active, m.candidate, m.paused = s.Active.restore(), s.Candidate.restore(), s.Paused.restore()
	m.draining, m.killed = restoreAll(s.Draining), restoreAll(s.Killed)
	m.release, m.previous = s.Release.copy(), s.Previous.copy()
	m.failures, m.stable = s.Failures, s.Stable
	m.generations, m.serial, m.stopping, m.failure = s.Generations, s.Serial, s.Stopping, s.Failure
	if r := s.Restarting; r != nil {
		m.restarting = &restart{generation: r.Generation.restore(), timer: r.Timer, reason: r.Reason}
	}
	return m, nil
}

func (g *generation) state() *GenerationState {
	if g == nil {
		return nil
	}
	return &GenerationState{
		Number: g.number, Release: *g.release.copy(), Ready: g.ready, CanPause: g.canPause, Mute: g.mute, Command: g.command,
		Timer: g.timer, Terminated: g.terminated, Drained: g.drained, Cut: g.cut, CutUnknown: g.cutUnknown, Waiter: g.waiter.state(),
	}
}

func (s *GenerationState) restore() *generation {
	if s == nil {
		return nil
	}
	return &generation{
		number: s.Number, release: *s.Release.copy(), ready: s.Ready, canPause: s.CanPause, mute: s.Mute, command: s.Command,
		timer: s.Timer, terminated: s.Terminated, drained: s.Drained, cut: s.Cut, cutUnknown: s.CutUnknown, waiter: s.Waiter.restore(),
	}
}

func states(slot []*generation) []GenerationState {
	var all []GenerationState
	for _, g := range slot {
		all = append(all, *g.state())
	}
	return all
}

func restoreAll(all []GenerationState) []*generation {
	var slot []*generation
	for _, s := range all {
		slot = append(slot, s.restore())
	}
	return slot
}

func (r *request) state() *RequestState {
	if r == nil {
		return nil
	}
	return &RequestState{
		Request: r.Request, Kind: r.Kind, Program: r.Program.copy(), Force: r.Force, WaitDrain: r.WaitDrain, DryRun: r.DryRun, IfGeneration: r.IfGeneration,
		Hook: r.hook, Hooked: r.hooked,
		Timeout: r.Timeout, Timer: r.timer, Undo: r.undo, Reason: r.reason, Verdict: r.verdict,
		From: r.from, To: r.to, FromRelease: r.fromRelease.copy(), ToRelease: r.toRelease.copy(),
		Retired: r.retired, Drained: r.drained.state(),
	}
}

func (s *RequestState) restore() *request {
	if s == nil {
		return nil
	}
	return &request{
		Requested: Requested{
			Request: s.Request, Kind: s.Kind, Program: s.Program.copy(), Force: s.Force, WaitDrain: s.WaitDrain,
			DryRun: s.DryRun, IfGeneration: s.IfGeneration, Timeout: s.Timeout,
		},
		timer: s.Timer, undo: s.Undo, reason: s.Reason, verdict: s.Verdict,
		hook: s.Hook, hooked: s.Hooked,
		from: s.From, to: s.To, fromRelease: s.FromRelease.copy(), toRelease: s.ToRelease.copy(),
		retired: s.Retired, drained: s.Drained.restore(),
	}
}

func (d *drainEnd) state() *DrainState {
	if d == nil {
		return nil
	}
	return &DrainState{Cut: d.cut, CutUnknown: d.cutUnknown}
}

func (s *DrainState) restore() *drainEnd {
	if s == nil {
		return nil
	}
	return &drainEnd{cut: s.Cut, cutUnknown: s.CutUnknown}
}

func (p *Program) copy() *Program {
	if p == nil {
		return nil
	}
	c := *p
	c.Command, c.Env, c.EnvFiles = slices.Clone(p.Command), slices.Clone(p.Env), slices.Clone(p.EnvFiles)
	return &c
}

func (r *Release) copy() *Release {
	if r == nil {
		return nil
	}
	c := *r
	c.Program, c.FileEnv = *r.Program.copy(), slices.Clone(r.FileEnv)
	return &c
}
