package upgrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// A RefusedError says why another binary may not take over now.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// HandOver brings everything to rest and calls hand with what another supervisor
// has to know, channels included, from the goroutine of Run. hand does not
// return if it succeeds, because another program has taken the place of this
// one; its error is that of HandOver, and all goes on as before. The error is a
// *RefusedError if this is no moment for it. What hand is given it borrows. Once
// begun it is not given up when ctx is done: it takes a limited time, and the
// caller must know that hand is not running.
func (s *Supervisor) HandOver(ctx context.Context, hand func(State) error) error {
	result := make(chan error, 1)
	if err := s.postFor(ctx, func() { result <- s.handOver(hand) }); err != nil {
		return err
	}
	return <-result
}

func (s *Supervisor) handOver(hand func(State) error) error {
	if why := s.machine.HandOverObjection(); why != "" {
		return &RefusedError{why}
	}
	if s.hooking.running > 0 {
		return &RefusedError{"a hook is running"}
	}
	if s.handing { // this is work that the other one takes meanwhile
		return &RefusedError{"the supervisor is being replaced already"}
	}
	s.handing = true
	defer func() { s.handing = false }()
	channels, goOn := s.restAll()
	defer goOn()
	s.joinEnded()
	if why := s.machine.HandOverObjection(); why != "" { // while it came to rest
		return &RefusedError{why}
	}
	state := s.state()
	for i := range state.Generations {
		state.Generations[i].Channel = channels[state.Generations[i].Generation]
	}
	state.Kept = s.cfg.Kept.state()
	return hand(state)
}

// restAll brings every channel to rest. What is on its way to the machine is
// taken meanwhile.
func (s *Supervisor) restAll() (channels map[int]int, goOn func()) {
	type rested struct {
		generation, channel int
		goOn                func()
	}
	results := make(chan rested)
	count := len(s.generations)
	for n, g := range s.generations {
		s.tasks.Go(func() {
			channel, goOn := g.process.Rest()
			results <- rested{n, channel, goOn}
		})
	}
	channels = map[int]int{}
	var all []func()
	for len(all) < count {
		select {
		case r := <-results:
			channels[r.generation] = r.channel
			all = append(all, r.goOn)
		case work := <-s.inbox:
			work()
		}
	}
	return channels, func() {
		for _, goOn := range all {
			goOn()
		}
	}
}

// joinEnded waits until nothing is left of the generations that have ended. What
// is on its way to the machine is taken meanwhile: another end may be.
func (s *Supervisor) joinEnded() {
	joined := make(chan struct{})
	s.tasks.Go(func() {
		s.cfg.Launcher.Join()
		close(joined)
	})
	for {
		select {
		case <-joined:
			return
		case work := <-s.inbox:
			work()
		}
	}
}

// state is what another supervisor would have to know now.
func (s *Supervisor) state() State {
	st := State{
		Service: s.cfg.Service, Started: s.started, Program: s.said, Machine: s.machine.State(),
		LastRequest: s.lastRequest, Restarts: s.restarts, Reports: slices.Clone(s.reports),
	}
	for id, p := range s.timers {
		st.Timers = append(st.Timers, TimerState{Timer: id, At: BootTime() + time.Until(p.at)})
	}
	slices.SortFunc(st.Timers, func(a, b TimerState) int { return int(a.Timer) - int(b.Timer) })
	for _, n := range slices.Sorted(maps.Keys(s.generations)) {
		g := s.generations[n]
		p := g.process.State()
		p.Started, p.Ready, p.DrainDeadline, p.DrainUntil = g.started, g.ready, g.drainDeadline, g.drainUntil
		st.Generations = append(st.Generations, p)
	}
	for _, n := range slices.Sorted(maps.Keys(s.callers)) {
		st.Callers = append(st.Callers, s.callers[n].state())
	}
	return st
}

// persist has the state written down if it has changed in anything but figures.
func (s *Supervisor) persist() {
	if s.cfg.Persist == nil {
		return
	}
	st := s.state()
	st.Timers = nil // the next supervisor sets its own
	for i := range st.Generations {
		st.Generations[i].Listeners = nil
	}
	for i := range st.Reports { // the latest is told to who waited for it, without the bulk of it
		queues := st.Reports[i].Queues
		st.Reports[i].Queues = nil
		if i == len(st.Reports)-1 {
			st.Reports[i].Queues = withoutSamples(queues)
		}
	}
	if reflect.DeepEqual(st, s.persisted) {
		return
	}
	s.persisted = State{}
	if s.cfg.Persist(st) == nil {
		s.persisted = st
	}
}

// WriteDown has the state written down for whoever comes next, also one that has
// been: what was written is gone. An error is that the supervisor has ended, or that
// ctx is done.
func (s *Supervisor) WriteDown(ctx context.Context) error {
	return s.postFor(ctx, func() {
		s.persisted = State{}
		s.persist()
	})
}

func withoutSamples(queues []QueueAccount) []QueueAccount {
	queues = slices.Clone(queues)
	for i := range queues {
		queues[i].Samples = nil
	}
	return queues
}

// recall takes what the supervisor itself knew.
func (s *Supervisor) recall() {
	from := s.cfg.From
	if from == nil {
		return
	}
	s.started, s.lastRequest, s.restarts = from.Started, from.LastRequest, from.Restarts
	s.reports = slices.Clone(from.Reports)
	for _, c := range from.Callers {
		s.callers[c.Request] = c.caller()
	}
}

// goOn takes over the generations and goes on.
func (s *Supervisor) goOn() {
	defer s.show() // also where nothing is to be done
	from := s.cfg.From
	s.cfg.Kept.inherit(from.Kept)
	for _, r := range []*Release{s.machine.release, s.machine.previous} {
		if r != nil {
			s.cfg.Kept.keep(*r)
			s.cfg.Kept.unpin(*r)
		}
	}
	alive := func(n int) bool {
		return !s.cfg.Killed || slices.ContainsFunc(s.cfg.Survivors, func(v Survivor) bool { return v.Generation == n })
	}
	for _, p := range from.Generations {
		if alive(p.Generation) {
			s.generations[p.Generation] = &member{
				release: p.Release, started: p.Started, ready: p.Ready, drainDeadline: p.drainsUntil(), drainUntil: p.DrainUntil,
				process: s.cfg.Launcher.Adopt(p, s.fromProcess),
			}
			s.cfg.Kept.adopt(p.Release, p.PID)
		}
	}
	if c := s.machine.candidate; c != nil && s.machine.release == nil {
		s.first = &Report{Kind: KindStart, Started: s.started, To: c.number, ToRelease: c.release.copy()}
	}
	if s.cfg.Killed {
		for request := range s.callers {
			s.cfg.Watcher.Begin(request)
		}
		s.step(Recovered{s.cfg.Survivors})
		s.answerRest()
		return
	}
	for _, t := range from.Timers {
		s.setTimer(SetTimer{Timer: t.Timer, After: max(0, t.At-BootTime())})
	}
	for n := range s.generations {
		if s.machine.role(n) == RoleDraining {
			s.generations[n].process.Hold(false) // the other one may have held it, and its pacer is gone
			s.pace(n)
		}
	}
	s.persist()
}

// drainsUntil is the deadline of its drain by the clock as it is set now.
func (p ProcessState) drainsUntil() time.Time {
	if p.DrainUntil == 0 {
		return p.DrainDeadline
	}
	return time.Now().Add(p.DrainUntil - BootTime())
}

// answerRest ends what a killed supervisor had begun and its machine knows
// nothing of: it was killed between two steps.
func (s *Supervisor) answerRest() {
	for _, n := range slices.Sorted(maps.Keys(s.callers)) {
		if c := s.callers[n]; !s.machine.knows(n) {
			s.reply(Reply{Request: n, Kind: c.kind, Verdict: Refused, Reason: "the supervisor was killed before it took the request"})
		}
	}
	s.persist()
	for _, answer := range s.answers {
		answer()
	}
	s.answers = nil
}

// knows tells whether a request will be answered.
func (m *Machine) knows(request uint64) bool {
	if r := m.request; r != nil && (r.Request == request || r.undo == request) || m.dry.is(request) {
		return true
	}
	for _, g := range m.all {
		if g.waiter != nil && g.waiter.Request == request {
			return true
		}
	}
	return false
}

func (c *caller) state() CallerState {
	st := CallerState{
		Request: c.number, Kind: c.kind, Note: c.request.Reason, Started: c.started,
		Phases: slices.Clone(c.phases), Phase: c.phase, PhaseSince: c.phaseSince, Overruled: c.overruled, Renewed: c.renewed, Hooks: slices.Clone(c.hooks),
	}
	if m := c.moment; m != nil {
		st.Moment = &MomentState{At: m.at, Stranger: m.stranger, Output: m.output, Accepted: m.accepted, Open: m.open, Queues: m.queues}
	}
	return st
}

func (st CallerState) caller() *caller {
	c := &caller{
		kind: st.Kind, request: Request{Reason: st.Note}, number: st.Request, started: st.Started,
		phases: st.Phases, phase: st.Phase, phaseSince: st.PhaseSince, overruled: st.Overruled, renewed: st.Renewed, hooks: st.Hooks,
	}
	if m := st.Moment; m != nil {
		c.moment = &moment{at: m.At, stranger: m.Stranger, output: m.Output, accepted: m.Accepted, open: m.Open, queues: m.Queues}
	}
	return c
}

// ValidateHandedOn says what cannot be in the state of a supervisor that executes
// another binary in its place: more than [State.Validate], for what a supervisor
// that was killed wrote down may be from between two steps.
func (st State) ValidateHandedOn() error {
	if err := st.Validate(); err != nil {
		return err
	}
	processes := map[int]bool{}
	for _, p := range st.Generations {
		processes[p.Generation] = true
	}
	for role, g := range st.Machine.all {
		if !processes[g.Number] {
			return fmt.Errorf("generation %d is %s and has no process", g.Number, role)
		}
		delete(processes, g.Number)
	}
	for _, n := range slices.Sorted(maps.Keys(processes)) {
		return fmt.Errorf("generation %d has a process and no role", n)
	}
	return nil
}

// Validate says what in a state cannot be, whoever left it.
func (st State) Validate() error {
	seen := map[int]bool{}
	for _, p := range st.Generations {
		switch {
		case p.Generation < 1 || p.Generation > st.Machine.Generations:
			return fmt.Errorf("generation %d has never been started", p.Generation)
		case seen[p.Generation]:
			return fmt.Errorf("generation %d has two processes", p.Generation)
		case p.PID < 0:
			return fmt.Errorf("generation %d has pid %d", p.Generation, p.PID)
		}
		seen[p.Generation] = true
	}
	if st.Service == "" {
		return errors.New("it does not say of which service it is")
	}
	if _, err := RestoreMachine(Policy{}, st.Machine); err != nil {
		return err
	}
	return st.validateCallers()
}

// validateCallers: who waits does so once for a request that was made, and the
// machine answers nobody else.
func (st State) validateCallers() error {
	waits := map[uint64]bool{}
	for _, c := range st.Callers {
		switch {
		case c.Request < 1 || c.Request > st.LastRequest:
			return fmt.Errorf("request %d has never been made", c.Request)
		case waits[c.Request]:
			return fmt.Errorf("request %d is waited for twice", c.Request)
		}
		waits[c.Request] = true
	}
	for _, request := range st.Machine.held() {
		if !waits[request] {
			return fmt.Errorf("nobody waits for request %d", request)
		}
	}
	return nil
}
