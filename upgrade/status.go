package upgrade

import (
	"os"
	"slices"
)

// status also returns the processes in the order of the generations shown.
func (s *Supervisor) status() (Status, []Process) {
	m := s.machine
	st := Status{
		Service: s.cfg.Service, PID: os.Getpid(), Started: s.started, SupervisorStarted: s.begun,
		Phase: m.phase, Stopping: m.stopping,
		Generations: []GenerationStatus{}, Listeners: s.cfg.Listeners,
		Restarts: s.restarts, Release: m.release, Previous: m.previous,
		Reports: append([]Report{}, s.reports...),
	}
	if m.request != nil {
		st.Request = m.request.Request
	}
	if d, ok := s.timers[m.deadline]; ok {
		st.PhaseEnds = &d.at
	}
	if m.restarting != nil {
		st.Restart = &RestartStatus{Reason: m.restarting.reason, Failures: m.failures}
		if m.restarting.generation == nil { // its timer is then the back-off, and later the limit of the start
			st.Restart.Next = s.timers[m.restarting.timer].at
		}
	}
	for n, g := range s.generations {
		st.Generations = append(st.Generations, g.status(n, m.role(n)))
	}
	slices.SortFunc(st.Generations, func(a, b GenerationStatus) int { return a.Generation - b.Generation })
	processes := make([]Process, len(st.Generations))
	for i, g := range st.Generations {
		processes[i] = s.generations[g.Generation].process
	}
	return st, processes
}

func (g *member) status(n int, role Role) GenerationStatus {
	snapshot := g.process.Snapshot()
	st := GenerationStatus{
		Generation: n, Role: role, PID: snapshot.PID, Program: snapshot.Program, Release: g.release, Started: g.started,
		Library: snapshot.Library, Capabilities: snapshot.Capabilities, Listeners: snapshot.Listeners,
		Accepted: snapshot.Accepted, Active: snapshot.Active,
	}
	if at := g.ready; !at.IsZero() {
		st.Ready = &at
	}
	if at := g.drainDeadline; !at.IsZero() {
		st.DrainDeadline = &at
	}
	return st
}
