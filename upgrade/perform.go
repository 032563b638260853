package upgrade

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// unheard is said of a generation that ended without a word.
const unheard = "; it never said hello: does the program speak the protocol (package service, or docs/protocol.md)?"

// step feeds one event to the machine and performs what it answers.
func (s *Supervisor) step(e Event) {
	s.stranger = ""
	_, anew := e.(Recovered) // what was said to a supervisor that was killed is not known
	if g := s.generations[s.machine.starting()]; g != nil && !anew {
		if snapshot := g.process.Snapshot(); snapshot.PID != 0 && !snapshot.Joined {
			s.stranger = unheard
		}
	}
	actions := s.machine.Step(e)
	for _, a := range actions {
		s.note(a)
	}
	s.noteFirst()
	if e, ok := e.(Exited); ok {
		s.forget(e.Generation)
	}
	s.retain()
	s.persist()
	for _, answer := range s.answers {
		answer()
	}
	s.answers = nil
	later := s.retainListeners()
	for _, a := range actions {
		s.perform(a)
		switch a.(type) {
		case Launch, Drain: // note something of the generation
			later = true
		}
	}
	if later {
		s.persist()
	}
	if len(actions) > 0 {
		s.show()
	}
}

// noteFirst tells how the first start ended, once it has. One that was called off
// says nothing of its release.
func (s *Supervisor) noteFirst() {
	r, m := s.first, s.machine
	switch {
	case r == nil:
		return
	case m.release != nil:
		r.Verdict, r.Reason, r.Active = Committed, fmt.Sprintf("generation %d is active", r.To), r.To
	case m.failure != "":
		r.Verdict, r.Reason = Aborted, m.failure+s.stranger
	case !m.stopping:
		return
	}
	s.first = nil
	r.DurationSeconds = time.Since(r.Started).Seconds()
	if r.Verdict != "" && s.cfg.Began != nil {
		s.cfg.Began(*r)
	}
}

// retain keeps the files of all releases that may have to be started again, and
// those that run.
func (s *Supervisor) retain() {
	m := s.machine
	all := []*Release{m.release, m.previous}
	if m.request != nil { // which may have been admitted, and wait for a hook
		all = append(all, m.request.toRelease)
	}
	for _, g := range []*generation{m.candidate, m.active, m.paused} {
		if g != nil {
			all = append(all, &g.release)
		}
	}
	for _, g := range s.generations {
		all = append(all, &g.release)
	}
	s.cfg.Kept.retain(all)
}

// show shows what there is to see.
func (s *Supervisor) show() {
	if s.cfg.Changed != nil {
		status, _ := s.status()
		s.cfg.Changed(status)
	}
}

// note takes the actions that change nothing but what is known and said: these
// come first, so that they can be written down before anything is done, and a
// verdict before anybody hears of it.
func (s *Supervisor) note(a Action) {
	switch a := a.(type) {
	case Tell:
		s.tell(a)
	case Decide:
		s.decide(a)
		c := s.callers[a.Request]
		c.enter(PhaseDrain, c.moment.at) // what comes now is after the verdict
	case RunHook:
		s.begins(a)
	case Reply:
		s.reply(a)
	}
}

// deliver is how other goroutines feed events.
func (s *Supervisor) deliver(e Event) { s.post(func() { s.step(e) }) }

func (s *Supervisor) perform(a Action) {
	switch a := a.(type) {
	case Admit:
		s.admit(a)
	case RunHook:
		s.runHook(a)
	case Launch:
		s.launch(a)
	case SetTimer:
		s.setTimer(a)
	case StopTimer:
		s.stopTimer(a.Timer)
	case CloseListeners:
		s.cfg.Launcher.CloseListeners()
	case Finish:
		s.finished = &a
	default:
		s.performOn(a)
	}
}

// performOn performs the actions on a generation that has been launched.
func (s *Supervisor) performOn(a Action) {
	switch a := a.(type) {
	case Pause:
		s.generations[a.Generation].process.Pause(a.ID)
	case Resume:
		s.generations[a.Generation].process.Resume(a.ID)
	case Drain:
		g := s.generations[a.Generation]
		deadline := time.Now().Add(a.Deadline)
		if !a.Again || g.drainDeadline.IsZero() || deadline.Before(g.drainDeadline) { // another supervisor may have set it
			g.drainDeadline, g.drainUntil = deadline, BootTime()+a.Deadline
		}
		g.process.Drain(a.ID, max(0, time.Until(g.drainDeadline)), a.Final, s.machine.leaves(g.release))
		if !a.Final {
			s.pace(a.Generation)
		}
	case Terminate:
		s.generations[a.Generation].process.Terminate()
	case Kill:
		s.generations[a.Generation].process.Kill()
	case ProbeReady:
		ready := s.inTime(a.Generation, s.cfg.Watcher.Ready)
		s.observe(a.Generation, func(ctx context.Context, t Target) (Event, error) {
			return ProbePassed{a.Generation}, ready(ctx, t)
		}, func(why string) Event { return ProbeFailed{a.Generation, why} })
	case OpenGate:
		s.observe(a.Generation, func(ctx context.Context, t Target) (Event, error) {
			why, err := s.cfg.Watcher.Gate(ctx, t)
			return GateOpened{a.Generation, why}, err
		}, func(why string) Event { return GateShut{a.Generation, why} })
	case WatchBake:
		s.observe(a.Generation, func(ctx context.Context, t Target) (Event, error) {
			return nil, s.cfg.Watcher.Bake(ctx, t)
		}, func(why string) Event { return Tripped{a.Generation, why} })
	case ConfirmBake:
		s.confirm(a.Generation)
	case Unwatch:
		if g := s.generations[a.Generation]; g != nil && g.unwatch != nil {
			g.unwatch()
		}
	}
}

// admit resolves what is to run and asks the watcher, until the request is
// answered otherwise.
func (s *Supervisor) admit(a Admit) {
	s.cfg.Watcher.Begin(a.Request)
	admission := Admission{Request: a.Request, Kind: a.Kind, Force: a.Force, DryRun: a.DryRun, Down: s.machine.active == nil}
	if active := s.machine.active; active != nil {
		admission.From = active.release.copy()
	}
	renewal := s.renewal(a)
	ctx, cancel := context.WithCancel(s.watching)
	s.callers[a.Request].callOff = cancel
	s.tasks.Go(func() {
		defer cancel()
		release, policy, err := s.renew(ctx, a, renewal)
		if err == nil {
			s.cfg.Kept.keep(release) // until the machine has it, or does not want it
			defer s.cfg.Kept.unpin(release)
			admission.Release = release
			err = s.cfg.Watcher.Check(ctx, admission)
		}
		if err == nil {
			err = s.cfg.Watcher.Admit(ctx, admission)
			if err != nil && a.Force {
				s.overrule(a.Request, err.Error())
				err = nil
			}
		}
		if err != nil {
			s.deliver(NotAdmitted{a.Request, err.Error()})
			return
		}
		s.deliver(Admitted{a.Request, release, policy})
	})
}

// overrule records an objection of the admission that a forced upgrade ignores.
func (s *Supervisor) overrule(request uint64, objection string) {
	s.post(func() {
		s.log.Warn("admission objects and is overruled", "request", request, "reason", objection)
		if c := s.callers[request]; c != nil {
			c.overruled = objection
		}
	})
}

func (s *Supervisor) resolveFor(a Admit) (Release, error) {
	if a.Release != nil {
		_, err := s.cfg.Kept.start(*a.Release)
		return *a.Release, err
	}
	return Resolve(a.Program)
}

func (s *Supervisor) launch(a Launch) {
	again := s.machine.role(a.Generation) == RoleRestarting
	if again {
		s.restarts++
		if from, err := s.cfg.Kept.start(a.Release); err == nil && from.Path != a.Release.Path {
			s.log.Info("the service is started again from a file that is not at its path any more, and was kept", "generation", a.Generation, "path", a.Release.Path)
		} else if err != nil {
			s.log.Warn("the service is started again from another file than before", "generation", a.Generation, "reason", err)
		}
	}
	s.generations[a.Generation] = &member{
		release: a.Release,
		started: time.Now(),
		process: s.cfg.Launcher.Launch(a.Generation, a.Release, again, s.machine.policy.ReadyTimeout, s.fromProcess),
	}
}

// fromProcess takes the events of a process.
func (s *Supervisor) fromProcess(e Event) {
	switch e := e.(type) {
	case Starting, Started: // its token is to be written down before there is a process, and who that is before it hears it
		written := make(chan struct{})
		if s.postFor(context.Background(), func() {
			s.persist()
			close(written)
		}) == nil {
			<-written
		}
	case SaidReady:
		s.post(func() {
			if g := s.generations[e.Generation]; g != nil && g.ready.IsZero() {
				g.ready = time.Now()
			}
			s.step(e)
		})
	default:
		s.deliver(e)
	}
}

// inTime gives the look at a generation that is to become ready a little less
// time than the machine does, so that it is the look that ends first and says
// what it saw.
func (s *Supervisor) inTime(n int, look func(context.Context, Target) error) func(context.Context, Target) error {
	limit := s.machine.policy.ReadyTimeout
	deadline := s.generations[n].started.Add(limit - limit/20)
	return func(ctx context.Context, t Target) error {
		ctx, cancel := context.WithDeadlineCause(ctx, deadline, fmt.Errorf("not passed within %v of its start", limit-limit/20))
		defer cancel()
		return look(ctx, t)
	}
}

// observe runs one look at a generation, which ends any earlier one.
func (s *Supervisor) observe(n int, look func(context.Context, Target) (good Event, err error), bad func(string) Event) {
	ctx, cancel := s.watch(n)
	target := s.target(n)
	s.tasks.Go(func() {
		defer cancel()
		switch good, err := look(ctx, target); {
		case ctx.Err() != nil: // called off: nobody wants to know
		case err != nil:
			s.deliver(bad(err.Error()))
		case good != nil:
			s.deliver(good)
		}
	})
}

// watch begins an observation of a generation, which ends any earlier one.
func (s *Supervisor) watch(n int) (context.Context, context.CancelFunc) {
	g := s.generations[n]
	if g.unwatch != nil {
		g.unwatch()
	}
	g.watch, g.unwatch = context.WithCancel(s.watching)
	return g.watch, g.unwatch
}

// pace has a draining generation keep its idle connections while the others
// should not get their clients.
func (s *Supervisor) pace(n int) {
	ctx, cancel := s.watch(n)
	target, process := s.target(n), s.generations[n].process
	s.tasks.Go(func() {
		defer cancel()
		held := false
		s.cfg.Watcher.Pace(ctx, target, func(hold bool) {
			held = hold
			process.Hold(hold)
		})
		if held {
			process.Hold(false)
		}
	})
}

// confirm looks at a generation once more, beside the watch that goes on.
func (s *Supervisor) confirm(n int) {
	g := s.generations[n]
	ctx, target := g.watch, s.target(n)
	s.tasks.Go(func() {
		if s.cfg.Watcher.Ready(ctx, target) == nil && ctx.Err() == nil {
			s.deliver(ProbePassed{n})
		}
	})
}

func (s *Supervisor) target(n int) Target {
	g := s.generations[n]
	snapshot := g.process.Snapshot()
	t := Target{Generation: n, PID: snapshot.PID, ProbeSocket: snapshot.ProbeSocket, Dir: g.release.WorkingDir(), Env: g.release.Environment(),
		Reports: snapshot.Reports}
	if r := s.machine.request; r != nil {
		t.Request, t.Kind, t.Force = r.Request, r.Kind, r.Force
	}
	if a := s.machine.active; a != nil && a.number != n {
		t.Active = a.number
	}
	return t
}

func (s *Supervisor) setTimer(a SetTimer) {
	after := a.After
	if a.Jitter {
		after = after/2 + rand.N(after/2+1)
	}
	s.timers[a.Timer] = pending{
		at: time.Now().Add(after),
		timer: time.AfterFunc(after, func() {
			s.post(func() {
				delete(s.timers, a.Timer)
				s.step(TimerFired{a.Timer})
			})
		}),
	}
}

func (s *Supervisor) stopTimer(t TimerID) {
	if p, ok := s.timers[t]; ok {
		p.timer.Stop()
		delete(s.timers, t)
	}
}

// forget drops a generation that has ended.
func (s *Supervisor) forget(n int) {
	if g := s.generations[n]; g != nil {
		if g.unwatch != nil {
			g.unwatch()
		}
		delete(s.generations, n)
	}
}
