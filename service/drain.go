package service

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// tick is how often the draining service looks at what is left.
	tick = 10 * time.Millisecond
	// sweepShare is how many times as long as a look took is waited at least before
	// the next one, but no longer than slowestTick.
	sweepShare  = 20
	slowestTick = 100 * time.Millisecond
)

// orderGrace is how long a supervised service that is told to end by somebody
// else waits for an order of its supervisor, which was probably told too:
// systemd (KillMode=control-group) and a terminal signal both. Only the
// supervisor knows whether anybody is left to take what is queued.
const orderGrace = 500 * time.Millisecond

// shunTime is how long handshakes that have begun have to end before the queues
// are emptied for the last time: the round trip of most clients.
const shunTime = 100 * time.Millisecond

// drain is the order to end: who asked, until when, and how it went. The first
// order begins the drain; later ones may change the deadline.
type drain struct {
	begun chan struct{}

	mu       sync.Mutex
	began    time.Time
	deadline time.Time
	held     bool       // idle connections stay for now
	final    bool       // nobody else accepts from the listeners
	last     []string   // nobody else does from these
	word     bool       // of the supervisor: that it is final
	asked    []question // orders of the supervisor not yet answered
	answer   *fdpass.Drained
}

// A question is an order that wants an answer, in the session that it came in:
// to the next supervisor its number means nothing.
type question struct {
	by *session
	id uint64
}

// tell answers.
func (q question) tell(answer fdpass.Drained) {
	answer.ID = q.id
	q.by.tell(answer)
}

// order begins the drain and reports whether it was the first.
func (d *drain) order(timeout time.Duration, final bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.began.IsZero()
	if first {
		d.began = time.Now()
		d.deadline = d.began.Add(timeout)
		d.final = final
		close(d.begun)
	}
	return first
}

// unlessBegun calls f, and returns true, unless the drain has begun; it does not
// begin before f has returned. What f opens, the drain shuts.
func (d *drain) unlessBegun(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.began.IsZero() {
		return false
	}
	f()
	return true
}

// amend gives the deadline anew.
func (d *drain) amend(timeout time.Duration, final bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = time.Now().Add(timeout)
	d.final = d.final || final
}

// leave notes from which listeners nobody else accepts any more, before the drain
// begins: later it is too late, for they are closed.
func (d *drain) leave(last []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began.IsZero() {
		d.last = last
	}
}

// empties reports whether the queue of a listener is emptied before it is closed.
func (d *drain) empties(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.final || slices.Contains(d.last, name)
}

// confirm notes that the supervisor itself says that the drain is final.
func (d *drain) confirm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.word = true
}

// retract takes back what confirm noted: the supervisor is gone, and the next
// one may have other plans.
func (d *drain) retract() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.word = false
}

// ordered reports whether the word of confirm stands.
func (d *drain) ordered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.word
}

// hold keeps idle connections, or releases them. Before the drain it means
// nothing: a drain begins released.
func (d *drain) hold(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = on && !d.began.IsZero()
}

// isHeld reports whether idle connections stay for now.
func (d *drain) isHeld() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// now returns the order as it stands.
func (d *drain) now() (began, deadline time.Time, final bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.began, d.deadline, d.final
}

// expect notes that the supervisor wants an answer, or returns the one there is.
func (d *drain) expect(q question) (answer fdpass.Drained, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answer == nil {
		d.asked = append(d.asked, q)
		return fdpass.Drained{}, false
	}
	return *d.answer, true
}

// finish keeps the answer and returns the orders to be answered now.
func (d *drain) finish(answer fdpass.Drained) []question {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = &answer
	return d.asked
}

// drainFor obeys the supervisor. Its deadline replaces that of a drain that a
// signal began. The answer is expected before the drain begins: one that has
// nothing to wait for may be over, and the channel closed, right after.
func (s *Service) drainFor(by *session, m fdpass.Drain) {
	timeout := time.Duration(m.DeadlineMS) * time.Millisecond
	q := question{by, m.ID}
	if answer, done := s.drain.expect(q); done {
		by.sendStats()
		q.tell(answer)
		return
	}
	if m.Final || len(m.Last) > 0 {
		s.drain.confirm()
	}
	s.drain.leave(m.Last)
	if s.drain.order(timeout, m.Final) {
		s.log.Info("draining", "generation", s.Generation(), "deadline", timeout, "asked", "supervisor")
	} else {
		s.drain.amend(timeout, m.Final)
	}
}

// drainAsked begins a drain that a signal or the program asks for, unless the
// supervisor orders one first. It returns at the latest after orderGrace, and
// when stop is closed. Nothing that comes meanwhile makes it shorter: another
// signal waits for its turn.
func (s *Service) drainAsked(why string, stop <-chan struct{}) {
	s.solo.settle(stop)
	if s.control != nil {
		timer := time.NewTimer(orderGrace)
		defer timer.Stop()
		select {
		case <-s.Draining():
		case <-s.control.now().ended:
		case <-timer.C:
		case <-stop:
		}
	}
	s.drainMyself(why)
}

// drainMyself begins a drain for a reason of this process's own.
func (s *Service) drainMyself(why string) {
	// A supervisor that is there keeps the listeners open, and another
	// generation or the next start takes what is queued; so does the process of
	// an upgrade.
	final := s.control == nil && s.solo.last() || s.control != nil && s.control.gone()
	if s.solo != nil && !final {
		s.solo.leave()
	}
	if s.drain.order(s.cfg.DrainTimeout, final) {
		if s.solo != nil && final {
			s.solo.notify(s.solo.systemd.send("STOPPING=1"))
		}
		s.log.Info("draining", "generation", s.Generation(), "deadline", s.cfg.DrainTimeout, "asked", why)
	}
}

// stopIntake is the first phase: nothing is accepted after it. What waits at a
// kept listener is left to the service manager, by any drain, and what waits where
// others accept to them. The servers are left time to empty the other accept
// queues first: all of them in a final drain, also one that becomes final while the
// last calls of accept return.
func (s *Service) stopIntake() {
	s.awaitQuiet()
	empties := func(e *endpoint) bool { return !e.kept && s.drain.empties(e.name) }
	if slices.ContainsFunc(s.endpoints, empties) {
		s.stopEndpoints(func(e *endpoint) bool { return !empties(e) })
		unshun := s.shunNew()
		s.emptyQueues()
		unshun()
	}
	s.stopEndpoints(func(*endpoint) bool { return true })
	s.awaitQuiet() // all are shut: only asks again
}

// stopEndpoints ends the intake of those that are meant. Twice does no harm.
func (s *Service) stopEndpoints(meant func(*endpoint) bool) {
	for _, e := range s.endpoints {
		if !meant(e) {
			continue
		}
		if err := e.stop(); err != nil {
			s.log.Warn("cannot close a listener", "listener", e.name, "err", err)
		}
	}
}

// shunNew has the kernel drop new attempts to connect while the queues are
// emptied for the last time, so that none is completed between the last look and
// the close. It returns after handshakes under way had shunTime to end; undo is
// called right before the listeners are closed, in case somebody holds them
// after all.
//
// A process that is killed in between leaves the filter on its sockets. That is
// why it is done only when they go with it: when the supervisor says so, or the
// process opened them.
func (s *Service) shunNew() (undo func()) {
	var shunned []syscall.Conn
	undo = func() {
		for _, c := range shunned {
			unshun(c)
		}
	}
	if s.control != nil && !s.drain.ordered() {
		return undo
	}
	for _, e := range s.endpoints {
		if e.listener != nil && !e.kept && s.drain.empties(e.name) && shun(e.listener.inner) {
			shunned = append(shunned, e.listener.inner)
		}
	}
	began, deadline, _ := s.drain.now()
	if pause := min(shunTime, deadline.Sub(began)/4); len(shunned) > 0 && pause > 0 {
		s.resume()
		<-time.After(pause)
	}
	return undo
}

// awaitQuiet pauses and returns when nothing is being accepted any more.
func (s *Service) awaitQuiet() {
	for _, q := range s.pause() {
		s.awaitOrDeadline(q)
	}
}

// emptyQueues lets the servers accept until every queue was seen empty while
// nothing was being accepted. Half of the drain's time is enough for that: a
// queue that is never empty is one that clients fill faster.
func (s *Service) emptyQueues() {
	ticker := time.NewTicker(tick / 10)
	defer ticker.Stop()
	for {
		s.awaitQuiet()
		began, deadline, _ := s.drain.now()
		if !s.waiting() || time.Since(began) > deadline.Sub(began)/2 {
			return
		}
		s.resume()
		<-ticker.C
	}
}

// waiting reports whether anything waits in a queue that somebody serves.
func (s *Service) waiting() bool {
	for _, e := range s.endpoints {
		if s.isUsed(e) && !e.kept && s.drain.empties(e.name) && e.waiting() {
			return true
		}
	}
	return false
}

// awaitOrDeadline waits for c until the drain's deadline, which may move.
func (s *Service) awaitOrDeadline(c <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-c:
			return
		case <-ticker.C:
			if _, deadline, _ := s.drain.now(); !time.Now().Before(deadline) {
				return
			}
		}
	}
}

// awaitConnections is the second phase: it returns when no connection is left,
// and otherwise at the deadline with the number of those that were cut.
func (s *Service) awaitConnections() (cut int) {
	for _, h := range s.https {
		h.drain()
	}
	for {
		began, deadline, _ := s.drain.now()
		now := time.Now()
		if s.sweep(now, began, deadline) == 0 {
			return 0
		}
		if !now.Before(deadline) {
			return s.cutConnections()
		}
		time.Sleep(sweepPause(time.Since(now), deadline.Sub(now)))
	}
}

// sweepPause is how long to wait after a look that took so long, when so much of the
// drain's time is left. A look at very many connections takes some milliseconds, and
// the drain that waits for their requests should not take a good part of a core
// from these.
func sweepPause(took, left time.Duration) time.Duration {
	pause := min(max(tick, sweepShare*took), slowestTick)
	return max(min(pause, left), 0)
}

// sweep looks at every open connection and returns their number.
func (s *Service) sweep(now, began, deadline time.Time) int {
	view := sweepOf(now, began, deadline, s.cfg.IdleTimeout)
	view.held = s.drain.isHeld() && !view.late
	for _, h := range s.https {
		h.open = 0
	}
	for _, e := range s.endpoints {
		e.tend(&view)
	}
	for _, h := range s.https {
		h.afterSweep(&view)
	}
	return view.open
}

// cutConnections returns how many were open. They are counted first: a handler
// that learns of the end may close its connection before this does.
func (s *Service) cutConnections() int {
	cut := 0
	for _, e := range s.endpoints {
		cut += e.unfinished()
	}
	s.cut()
	for _, e := range s.endpoints {
		e.cut()
	}
	return cut
}

// reportDrained answers every order to drain.
func (s *Service) reportDrained(cut int) {
	answer := fdpass.Drained{Accepted: s.accepted(), Cut: cut}
	asked := s.drain.finish(answer)
	s.log.Info("drained", "generation", s.Generation(), "accepted", s.accepted(), "cut", cut)
	if s.control == nil {
		return
	}
	s.control.sendStats()
	for _, q := range asked {
		q.tell(answer)
	}
}
