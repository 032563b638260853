package upgrade

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// maxGenerations is the highest number that a generation's files have room
	// for in the run directory.
	maxGenerations = 1<<32 - 1
	// maxSerial leaves more numbers than can ever be used.
	maxSerial = 1 << 62
)

// check says what of s no machine comes to.
func (s *MachineState) check() error {
	for _, part := range []func() error{s.checkNumbers, s.checkSlots, s.checkTimers, s.checkRequests, s.checkPhase, s.checkService} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// all yields every generation with the slot that holds it.
func (s *MachineState) all(yield func(Role, *GenerationState) bool) {
	one := func(r Role, g *GenerationState) bool { return g == nil || yield(r, g) }
	if !one(RoleActive, s.Active) || !one(RoleCandidate, s.Candidate) || !one(RolePaused, s.Paused) {
		return
	}
	if s.Restarting != nil && !one(RoleRestarting, s.Restarting.Generation) {
		return
	}
	for i := range s.Draining {
		if !yield(RoleDraining, &s.Draining[i]) {
			return
		}
	}
	for i := range s.Killed {
		if !yield(RoleKilled, &s.Killed[i]) {
			return
		}
	}
}

// checkNumbers: every generation is in one slot and under a number that was given.
func (s *MachineState) checkNumbers() error {
	switch {
	case s.Generations < 0 || int64(s.Generations) > maxGenerations:
		return fmt.Errorf("%d generations cannot have been started", s.Generations)
	case s.Serial > maxSerial:
		return fmt.Errorf("%d timers cannot have been set", s.Serial)
	case s.Failures < 0 || int64(s.Failures) > maxGenerations:
		return fmt.Errorf("%d failures in a row", s.Failures)
	}
	slot := map[int]Role{}
	for role, g := range s.all {
		if g.Number < 1 || g.Number > s.Generations {
			return fmt.Errorf("generation %d is %s, and the numbers given are 1 to %d", g.Number, role, s.Generations)
		}
		if other, twice := slot[g.Number]; twice {
			return fmt.Errorf("generation %d is both %s and %s", g.Number, other, role)
		}
		slot[g.Number] = role
	}
	return nil
}

// checkSlots: a generation is no more and no less than its slot says.
func (s *MachineState) checkSlots() error {
	for role, g := range s.all {
		ending := role == RoleDraining || role == RoleKilled
		switch {
		case g.Release.empty():
			return fmt.Errorf("generation %d runs nothing: its release has no path or no command", g.Number)
		case !ending && (g.Timer != 0 || g.Terminated || g.Drained || g.Cut != 0 || g.CutUnknown || g.Waiter != nil):
			return fmt.Errorf("generation %d is %s and is being ended", g.Number, role)
		case !g.Ready && (role == RoleActive || role == RolePaused):
			return fmt.Errorf("generation %d is %s and never was ready", g.Number, role)
		case role == RoleDraining && g.Timer == 0:
			return fmt.Errorf("generation %d drains without a deadline", g.Number)
		case role == RoleKilled && g.Timer != 0:
			return fmt.Errorf("generation %d is killed and has a deadline", g.Number)
		case g.Cut < 0:
			return fmt.Errorf("generation %d cut %d connections", g.Number, g.Cut)
		}
	}
	for _, r := range []*Release{s.Release, s.Previous} {
		if r != nil && r.empty() {
			return errors.New("a committed release has no path or no command")
		}
	}
	return nil
}

func (r *Release) empty() bool { return r.Path == "" || len(r.Command) == 0 || r.Command[0] == "" }

// checkTimers: every timer and command has a number of its own that was given.
func (s *MachineState) checkTimers() error {
	set := []TimerID{s.Deadline, s.Stable}
	if s.Request != nil {
		set = append(set, s.Request.Timer)
	}
	if s.DryRun != nil {
		set = append(set, s.DryRun.Timer)
	}
	if s.Restarting != nil {
		set = append(set, s.Restarting.Timer)
	}
	for _, g := range s.all {
		set = append(set, g.Timer, g.Command)
	}
	seen := map[TimerID]bool{}
	for _, t := range set {
		switch {
		case t == 0:
		case t > s.Serial:
			return fmt.Errorf("timer %d is awaited, and the highest that was set is %d", t, s.Serial)
		case seen[t]:
			return fmt.Errorf("timer %d is awaited by two", t)
		}
		seen[t] = true
	}
	return nil
}

// checkRequests: every request is held once.
func (s *MachineState) checkRequests() error {
	if r := s.Request; r != nil {
		if r.Verdict != "" {
			return fmt.Errorf("request %d is %s and is under way", r.Request, r.Verdict)
		}
		if err := r.check(s.Generations); err != nil {
			return err
		}
	}
	if r := s.DryRun; r != nil {
		if !r.DryRun || r.To != 0 || r.Verdict != "" || r.Undo != 0 || r.Timer == 0 || s.Stopping {
			return fmt.Errorf("request %d is no dry run that could be under way", r.Request)
		}
		if err := r.check(s.Generations); err != nil {
			return err
		}
	}
	for _, g := range s.all {
		if r := g.Waiter; r != nil {
			if !slices.Contains([]Verdict{Aborted, RolledBack, Committed}, r.Verdict) || r.Reason == "" || r.Timer != 0 {
				return fmt.Errorf("request %d waits for the end of generation %d with no verdict, no reason or a timer", r.Request, g.Number)
			}
			if err := r.check(s.Generations); err != nil {
				return err
			}
		}
	}
	held := s.held()
	if len(slices.Compact(slices.Clone(held))) != len(held) {
		return fmt.Errorf("of the requests %v one is held twice", held)
	}
	return nil
}

// held are the requests that are to be answered, in order.
func (s *MachineState) held() (all []uint64) {
	if r := s.Request; r != nil {
		all = append(all, r.Request)
		if r.Undo != 0 {
			all = append(all, r.Undo)
		}
	}
	if s.DryRun != nil {
		all = append(all, s.DryRun.Request)
	}
	for _, g := range s.all {
		if g.Waiter != nil {
			all = append(all, g.Waiter.Request)
		}
	}
	slices.Sort(all)
	return all
}

func (r *RequestState) check(generations int) error {
	switch {
	case r.Request == 0:
		return errors.New("a request has no number")
	case r.Kind != KindUpgrade && r.Kind != KindRollback:
		return fmt.Errorf("request %d is a %q", r.Request, r.Kind)
	case r.Hook != "" && (r.Verdict != "" || r.DryRun):
		return fmt.Errorf("request %d awaits the hook %s", r.Request, r.Hook)
	case r.From < 0 || r.From > generations || r.To < 0 || r.To > generations:
		return fmt.Errorf("request %d leads from generation %d to %d, and the numbers given are 1 to %d", r.Request, r.From, r.To, generations)
	case r.Retired < 0 || r.Retired > generations || r.Retired != 0 && r.Retired == r.To:
		return fmt.Errorf("request %d has retired generation %d", r.Request, r.Retired)
	case r.Drained != nil && (r.Retired == 0 || r.Drained.Cut < 0):
		return fmt.Errorf("request %d knows of a drain that cannot be", r.Request)
	case r.FromRelease == nil || r.FromRelease.empty():
		return fmt.Errorf("request %d leads from no release", r.Request)
	case r.To != 0 && r.ToRelease == nil || r.To == 0 && r.ToRelease != nil && r.Hook != HookBeforeStart || r.ToRelease != nil && r.ToRelease.empty():
		return fmt.Errorf("request %d leads to generation %d with another release than it has", r.Request, r.To)
	}
	return nil
}

// checkPhase: the slots are filled as the phase of the upgrade has them.
func (s *MachineState) checkPhase() error {
	first := s.Release == nil && (s.Phase == PhaseStart || s.Phase == PhaseReady)
	resting := []Phase{PhaseIdle, PhaseAdmission, PhaseStart, PhaseReady, PhaseOverlap, PhaseGate, PhaseCutOver, PhaseBake, PhaseRollback}
	switch {
	case !slices.Contains(resting, s.Phase):
		return fmt.Errorf("there is no phase %q to be in", s.Phase)
	case s.BakeStep < int(bakeWatch) || s.BakeStep > int(bakeProbe):
		return fmt.Errorf("a bake has no step %d", s.BakeStep)
	case s.Phase == PhaseIdle && (s.Request != nil || s.Deadline != 0):
		return fmt.Errorf("phase %s has a request or a deadline", s.Phase)
	case s.Phase != PhaseIdle && (s.Request == nil) != first:
		return fmt.Errorf("phase %s, with a request: %t, a committed release: %t", s.Phase, s.Request != nil, s.Release != nil)
	case s.Phase != PhaseIdle && s.Deadline == 0 && s.Restarting == nil:
		return fmt.Errorf("phase %s has no deadline", s.Phase)
	case s.Request != nil && (s.Request.To == 0) != (s.Phase == PhaseAdmission):
		return fmt.Errorf("request %d is in phase %s, to generation %d", s.Request.Request, s.Phase, s.Request.To)
	case s.Request != nil && !s.Request.hookFits(s.Phase):
		return fmt.Errorf("request %d awaits the hook %s in phase %s", s.Request.Request, s.Request.Hook, s.Phase)
	case s.Phase == PhaseRollback && s.Request.Reason == "":
		return fmt.Errorf("request %d is being undone without a reason", s.Request.Request)
	case s.Request != nil && s.Request.Undo != 0 && s.Phase != PhaseRollback:
		return fmt.Errorf("request %d is being undone in phase %s", s.Request.Request, s.Phase)
	}
	return s.checkFilled()
}

// hookFits: a hook is awaited in the phase that it is in.
func (r *RequestState) hookFits(p Phase) bool {
	switch r.Hook {
	case "":
		return true
	case HookBeforeStart:
		return p == PhaseAdmission && r.ToRelease != nil
	case HookAfterReady:
		return p == PhaseReady
	case HookBeforeCutOver:
		return p == PhaseOverlap
	}
	return false
}

// checkFilled: who is there, in which phase.
func (s *MachineState) checkFilled() error {
	active, candidate, paused, restarting := s.Active != nil, s.Candidate != nil, s.Paused != nil, s.Restarting != nil
	fits := false
	switch s.Phase {
	case PhaseIdle, PhaseAdmission:
		fits = !candidate && !paused
	case PhaseStart:
		fits = candidate && !paused && !s.Candidate.Ready
	case PhaseReady:
		fits = candidate && !paused && s.Candidate.Ready
	case PhaseOverlap, PhaseGate:
		fits = active && candidate && !paused && s.Candidate.Ready
	case PhaseCutOver:
		fits = active && candidate && !paused && !restarting && s.Candidate.Ready
	case PhaseBake:
		switch {
		case paused:
			fits = active && !candidate && !restarting
		case candidate:
			fits = active && !restarting && s.Candidate.Ready
		default:
			fits = active && !restarting && s.Request.Retired != 0
		}
	case PhaseRollback:
		switch {
		case paused:
			fits = !candidate && !restarting
		case restarting:
			fits = !candidate
		default:
			fits = active
		}
	}
	if !fits {
		return fmt.Errorf("phase %s, with an active generation: %t, a candidate: %t, a paused one: %t, a restart: %t", s.Phase, active, candidate, paused, restarting)
	}
	return nil
}

// checkService: somebody accepts or is on the way to it, unless all of it ends.
func (s *MachineState) checkService() error {
	resuming := s.Paused != nil && s.Phase == PhaseRollback
	serving := s.Active != nil || s.Paused != nil || s.Restarting != nil
	switch {
	case s.Restarting != nil && s.Restarting.Timer == 0:
		return errors.New("a restart has no timer")
	case s.Stopping && (serving || s.Candidate != nil || s.Phase != PhaseIdle || s.Stable != 0):
		return errors.New("the service is being stopped and goes on")
	case s.Failure != "" && !s.Stopping:
		return fmt.Errorf("has failed (%s) and is not being stopped", s.Failure)
	case s.Release == nil && serving:
		return errors.New("there is an active generation, and no release was committed")
	case s.Release != nil && s.Generations == 0:
		return errors.New("a release was committed, and no generation was started")
	case s.Release == nil && !s.Stopping && s.Generations > 0 && s.Candidate == nil:
		return errors.New("the first generation is gone")
	case s.Release != nil && !s.Stopping && s.Active == nil && s.Restarting == nil && !resuming:
		return errors.New("no generation is active, and none is to be")
	}
	return nil
}
