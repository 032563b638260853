package upgrade

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// exitGrace is how long a closed channel waits for the exit that explains it.
	exitGrace = time.Second
	// sendGrace is how long a child may leave its channel unread.
	sendGrace = 5 * time.Second
	// messageLimit is the number of messages that a child may send in a second.
	messageLimit = 1000
	// returnPause is how long a channel that was lost had lasted at least before
	// there is another: a child that breaks each one does so at no higher rate.
	returnPause = time.Second
	// complaintLimit is the number of errors and of failures of a child that are
	// heard in a minute: each is a line in the log.
	complaintLimit = 10
)

// A conversation is what is said on one channel of a process, until the channel
// is of no more use. A process that lost its supervisor has another one with the
// next.
type conversation struct {
	p                    *process
	conn                 *fdpass.Conn
	began                time.Time
	done                 chan struct{} // closed when the channel is of no more use
	losing               sync.Once
	complaints, failures quota         // of the child; of listen only
	listened             chan struct{} // closed when listen has returned
	spoke                chan struct{} // closed when speak has
	sending              sync.Mutex    // a deadline is that of one message

	mu     sync.Mutex
	open   bool          // the handoff is over
	halt   *halt         // nil while both directions go on
	halted chan struct{} // wakes speak for halt
}

// A quota is a number of things in a span of time.
type quota struct {
	since time.Time
	used  int
}

// take uses one of most in each span.
func (q *quota) take(now time.Time, most int, span time.Duration) bool {
	if now.Sub(q.since) > span {
		*q = quota{since: now}
	}
	q.used++
	return q.used <= most
}

// A halt brings both directions of a conversation to rest between two messages.
type halt struct {
	listening, speaking chan struct{} // closed when that direction rests
	over                chan struct{} // closed when they go on
}

// converse begins a conversation on conn, which it takes. opening, if set, comes
// first. It is false if the process has ended already.
func (p *process) converse(conn *fdpass.Conn, opening func(*fdpass.Conn) error) bool {
	c := &conversation{
		p: p, conn: conn, began: time.Now(), done: make(chan struct{}), halted: make(chan struct{}, 1), open: opening == nil,
		listened: make(chan struct{}), spoke: make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hasEnded() {
		_ = conn.Close()
		return false
	}
	p.talk = c
	p.talks.Go(func() { c.listen(opening) })
	p.talks.Go(c.speak)
	p.talks.Go(c.missed)
	return true
}

// missed has the rendezvous let in a child whose channel was lost and that lives:
// it looks for a supervisor there. One that was lost in its handoff has not got
// what it is to serve.
func (c *conversation) missed() {
	<-c.listened
	<-c.spoke // and takes nothing from out any more
	p, r := c.p, c.p.launcher.cfg.Rendezvous
	if r == nil || !c.opened() {
		return
	}
	select {
	case <-p.ended:
		return
	case <-time.After(time.Until(c.began.Add(returnPause))):
	}
	// The machine has heard of the loss, and says nothing to one that is mute. What
	// it said before that is void: an old pause must not reach a new channel.
	for p.unsaid() {
	}
	r.miss(p.State(), p.launcher.welcome(p.number, p.token, 0), p.returned)
}

func (c *conversation) opened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// unsaid drops one message that was to be sent; false if there was none.
func (p *process) unsaid() bool {
	select {
	case <-p.out:
		return true
	default:
		return false
	}
}

// listen opens the conversation and turns what the child says into events.
func (c *conversation) listen(opening func(*fdpass.Conn) error) {
	defer close(c.listened)
	if opening != nil {
		if err := opening(c.conn); err != nil {
			c.lost(err)
			return
		}
		c.mu.Lock()
		c.open = true
		c.mu.Unlock()
	}
	var messages quota
	for {
		m, fds, err := c.conn.Receive()
		closeFD(fds...) // a child has none to give
		if errors.Is(err, os.ErrDeadlineExceeded) && c.rested((*halt).listens) {
			continue
		}
		if errors.Is(err, fdpass.ErrUnknownType) {
			err = c.answer(fdpass.Error{Reason: err.Error()})
		}
		if !messages.take(time.Now(), messageLimit, time.Second) {
			err = fmt.Errorf("more than %d messages in a second", messageLimit)
		}
		if err == nil && m != nil {
			err = c.heard(m)
		}
		if err != nil {
			c.lost(err)
			return
		}
	}
}

// heard takes one message.
func (c *conversation) heard(m fdpass.Message) error {
	p := c.p
	switch m := m.(type) {
	case fdpass.Ready:
		p.deliver(SaidReady{p.number, slices.Contains(p.Snapshot().Capabilities, fdpass.CanPause)})
	case fdpass.Failed:
		if c.failures.take(time.Now(), complaintLimit, time.Minute) {
			p.saidFailed(m.Reason)
		}
	case fdpass.Paused:
		p.deliver(SaidPaused{p.number, m.ID})
	case fdpass.Resumed:
		p.deliver(SaidResumed{p.number, m.ID})
	case fdpass.Drained:
		p.deliver(SaidDrained{p.number, m.ID, m.Cut, m.Unknown})
	case fdpass.Stats:
		p.setStats(m)
	case fdpass.Error:
		if c.complaints.take(time.Now(), complaintLimit, time.Minute) {
			p.log.Warn("the child reports an error", "reason", m.Reason)
		}
	default:
		return fmt.Errorf("unexpected message %T", m)
	}
	return nil
}

// saidFailed keeps why a child cannot do its work: its end may come of that.
func (p *process) saidFailed(reason string) {
	p.mu.Lock()
	p.failed = reason
	p.mu.Unlock()
	p.deliver(SaidFailed{p.number, reason})
}

// lost reports, once, a channel that is of no more use.
func (c *conversation) lost(err error) {
	c.losing.Do(func() {
		close(c.done)
		c.report(err)
	})
	_ = c.conn.Close()
}

func (c *conversation) report(err error) {
	p := c.p
	var peer *fdpass.PeerError
	var own *ownError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		select { // an exit explains it, and says more
		case <-p.ended:
		case <-time.After(exitGrace):
			p.deliver(ChannelLost{p.number, "closed its channel"})
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && p.hasEnded(): // its channel is held open by another
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.deliver(ChannelLost{p.number, "does not read its channel"})
	case errors.As(err, &peer):
		p.deliver(SaidFailed{p.number, peer.Reason})
	case errors.As(err, &own):
		p.deliver(ChannelLost{p.number, "could not be handed its listeners: " + err.Error()})
	default:
		p.deliver(ChannelLost{p.number, "broke the protocol: " + err.Error()})
	}
}

// ownError is a fault on the supervisor's side.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

// isOver tells that nothing will be said on the channel any more.
func (c *conversation) isOver() bool {
	select {
	case <-c.done:
		return true
	default:
		return c.p.hasEnded()
	}
}

// speak sends what is to be sent, so that nobody else waits for the child.
func (c *conversation) speak() {
	defer close(c.spoke)
	for {
		select {
		case m := <-c.p.out:
			if !c.send(m) {
				return
			}
		case <-c.halted:
			if !c.flush() {
				return
			}
			c.rested((*halt).speaks)
		case <-c.p.ended:
			return
		case <-c.done:
			return
		}
	}
}

// flush sends what waits to be sent.
func (c *conversation) flush() bool {
	for {
		select {
		case m := <-c.p.out:
			if !c.send(m) {
				return false
			}
		default:
			return true
		}
	}
}

func (c *conversation) send(m fdpass.Message) bool {
	err := c.tell(m)
	if errors.Is(err, errGone) {
		return false
	}
	if err != nil {
		c.lost(err)
		return false
	}
	return true
}

// answer tells the child at once what listen has to say. Only a child that does
// not read is of no more use: one that is gone may have said more before.
func (c *conversation) answer(m fdpass.Message) error {
	if err := c.tell(m); errors.Is(err, os.ErrDeadlineExceeded) && !c.p.hasEnded() {
		return err
	}
	return nil
}

// tell sends one message within sendGrace, unless the process has ended: the
// channel was given its last deadline then, before or after.
func (c *conversation) tell(m fdpass.Message) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(sendGrace))
	if c.p.hasEnded() {
		return errGone
	}
	return c.conn.Send(m)
}

// rest brings the conversation to rest: every message that was read has been
// delivered, every one that was to be sent has been. The result ends the rest;
// nil if there is nothing to bring to rest. It waits for the child to read, for
// sendGrace at most for each message.
func (c *conversation) rest() (goOn func()) {
	h := &halt{listening: make(chan struct{}), speaking: make(chan struct{}), over: make(chan struct{})}
	c.mu.Lock()
	if !c.open || c.halt != nil {
		c.mu.Unlock()
		return nil
	}
	c.halt = h
	c.mu.Unlock()
	select {
	case c.halted <- struct{}{}:
	default: // nobody took it the last time: speak has returned
	}
	_ = c.conn.SetReadDeadline(time.Now())
	await(h.listening, c.listened)
	await(h.speaking, c.spoke)
	return func() {
		c.mu.Lock()
		c.halt = nil
		c.mu.Unlock()
		c.listenOn()
		close(h.over)
	}
}

// listenOn takes back the deadline of a rest, and no other: the end of the process
// sets one too, once ended is closed.
func (c *conversation) listenOn() {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	deadline := time.Time{}
	if c.p.hasEnded() {
		deadline = time.Now().Add(drainGrace)
	}
	_ = c.conn.SetReadDeadline(deadline)
}

// await waits for one of the two.
func await(rests, ended <-chan struct{}) {
	select {
	case <-rests:
	case <-ended:
	}
}

func (h *halt) listens() { close(h.listening) }
func (h *halt) speaks()  { close(h.speaking) }

// rested rests if that is wanted, until it is over; rests says so. False: it is
// not wanted.
func (c *conversation) rested(rests func(*halt)) bool {
	c.mu.Lock()
	h := c.halt
	c.mu.Unlock()
	if h == nil {
		return false
	}
	rests(h)
	<-h.over
	return true
}
