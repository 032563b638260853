package upgrade

import (
	"context"
	"time"
)

// hooking is what is known of the hooks that run. It is owned by the goroutine of
// Run.
type hooking struct {
	running int           // or wait for the one before
	last    chan struct{} // is closed when the last one that was begun is over; nil if there was none
	ctx     context.Context
	callOff context.CancelFunc // ends those that follow a verdict
	held    map[uint64]*held
}

// held is a report that waits for the hook that follows its verdict.
type held struct {
	report   Report
	audience []*listener
}

// begins notes that a hook will follow the verdict of a request: its report waits
// for that.
func (s *Supervisor) begins(a RunHook) {
	if a.Verdict != "" {
		s.callers[a.Request].awaits = true
	}
}

// hold keeps a report from its callers until the hook is over.
func (s *Supervisor) hold(report Report, c *caller) {
	s.hooking.held[report.Request] = &held{report, c.audience}
}

// runHook has a hook done after those that were begun before it.
func (s *Supervisor) runHook(a RunHook) {
	ctx, cancel := context.WithCancel(s.hooking.ctx)
	if a.Verdict == "" {
		cancel()
		ctx, cancel = context.WithCancel(s.watching)
		s.callers[a.Request].callOff = cancel // by the verdict, if that comes first
	}
	facts := s.facts(a)
	before, over := s.hooking.last, make(chan struct{})
	s.hooking.last = over
	s.hooking.running++
	s.tasks.Go(func() {
		defer cancel()
		if before != nil {
			<-before
		}
		began := time.Now()
		err := ctx.Err()
		if err == nil {
			err = s.cfg.Hooks.Run(ctx, facts)
		}
		result := HookResult{Hook: a.Hook, Seconds: time.Since(began).Seconds()}
		if err != nil {
			result.Error = err.Error()
		}
		close(over)
		s.post(func() { s.hooked(a, result) })
	})
}

func (s *Supervisor) facts(a RunHook) HookFacts {
	f := HookFacts{
		Hook: a.Hook, Service: s.cfg.Service, Request: a.Request, Kind: a.Kind, From: a.From, To: a.To,
		FromRelease: shown(a.FromRelease), ToRelease: shown(a.ToRelease), Verdict: a.Verdict, Reason: a.Reason, Active: a.Active,
	}
	pid := func(n int) int {
		if g := s.generations[n]; g != nil {
			return g.process.Snapshot().PID
		}
		return 0
	}
	f.FromPID, f.ToPID = pid(a.From), pid(a.To)
	if c := s.callers[a.Request]; c != nil {
		f.Note = c.request.Reason
	} else if h := s.hooking.held[a.Request]; h != nil {
		f.Note = h.report.Note
	}
	return f
}

// hooked notes how a hook went, and goes on.
func (s *Supervisor) hooked(a RunHook, result HookResult) {
	s.hooking.running--
	attrs := []any{"hook", string(a.Hook), "request", a.Request, "seconds", result.Seconds}
	if result.Error != "" {
		s.log.Warn("a hook failed", append(attrs, "reason", result.Error)...)
	} else {
		s.log.Info("a hook is done", attrs...)
	}
	c := s.callers[a.Request]
	if c != nil {
		c.hooks = append(c.hooks, result)
		c.awaits = c.awaits && a.Verdict == ""
	}
	switch h := s.hooking.held[a.Request]; {
	case a.Verdict == "" && result.Error == "":
		s.step(HookPassed{a.Request, a.Hook})
	case a.Verdict == "":
		s.step(HookFailed{a.Request, a.Hook, result.Error})
	case h != nil:
		s.release(h, result)
	}
}

// release gives a report to those who wait for it.
func (s *Supervisor) release(h *held, result HookResult) {
	delete(s.hooking.held, h.report.Request)
	h.report.Hooks = append(h.report.Hooks, result)
	for i := range s.reports {
		if s.reports[i].Request == h.report.Request {
			s.reports[i] = h.report
		}
	}
	s.persist()
	for _, l := range h.audience {
		l.report <- h.report
	}
	s.show()
}

// finishHooks gives the hooks that run when all else has ended some more time, and
// ends them then.
func (s *Supervisor) finishHooks() {
	late := time.NewTimer(s.machine.policy.StopGrace)
	defer late.Stop()
	for s.hooking.running > 0 {
		select {
		case work := <-s.inbox:
			work()
		case <-late.C:
			s.log.Warn("ends the hooks that still run")
			s.hooking.callOff()
		}
	}
}
