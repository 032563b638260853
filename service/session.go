package service

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// sendTimeout bounds a message to a supervisor that does not read. The
	// service must not depend on it.
	sendTimeout = 5 * time.Second
	// drainingStats is the interval of the statistics while draining, unless
	// the supervisor wants them more often anyway.
	drainingStats = 100 * time.Millisecond
)

// A session is one channel to a supervisor, from its welcome to its end. When it
// ends, the service goes on.
type session struct {
	service  *Service
	conn     *fdpass.Conn
	welcome  fdpass.Welcome
	reporter *reporter // nil: the supervisor wants no statistics; set before run
	sending  sync.Mutex
	helpers  sync.WaitGroup      // of run
	messages chan fdpass.Message // from read to answer; closed at the end of the channel
	ended    chan struct{}       // closed at the end of the channel
	lull     *lull
	pending  *pendingPause // of answer only
}

// A pendingPause is a pause that is asked for and not yet answered.
type pendingPause struct {
	id     uint64
	quiet  <-chan struct{}
	cancel chan struct{}
}

// newSession takes conn.
func newSession(s *Service, conn *fdpass.Conn, w fdpass.Welcome, l *lull) *session {
	return &session{
		service:  s,
		conn:     conn,
		welcome:  w,
		messages: make(chan fdpass.Message),
		ended:    make(chan struct{}),
		lull:     l,
	}
}

// report prepares the statistics, once the service has its endpoints.
func (c *session) report() {
	if c.welcome.StatsMS > 0 {
		c.reporter = newReporter(c.service.endpoints, c.tell)
	}
}

// run answers the supervisor until the channel ends.
func (c *session) run() {
	c.helpers.Go(c.read)
	c.answer()
	_ = c.conn.Close() // nothing more comes, and nobody listens
	c.helpers.Wait()
}

// send sends one message.
func (c *session) send(m fdpass.Message) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	return c.conn.Send(m)
}

// tell sends a message that the service can do without.
func (c *session) tell(m fdpass.Message) {
	err := c.send(m)
	if err != nil && !isOver(err) {
		c.service.log.Warn("the supervisor does not listen", "err", err)
	}
}

// read hands the messages to answer until the channel ends.
func (c *session) read() {
	defer close(c.messages)
	for {
		m, fds, err := c.conn.Receive()
		for _, fd := range fds {
			closeFD(fd) // nothing that comes after the handoff carries any
		}
		var bad *fdpass.MessageError
		switch {
		case errors.As(err, &bad):
			c.service.log.Warn("message not understood", "err", bad)
			c.tell(fdpass.Error{Reason: bad.Error()})
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.service.log.Warn("channel lost", "err", err)
			}
			return
		default:
			c.messages <- m
		}
	}
}

func (c *session) answer() {
	defer c.end()
	ticker := newStatsTicker(c.welcome.StatsMS, c.lull)
	defer ticker.stop()
	ticker.wake() // nobody knows yet what happened before
	draining := c.service.Draining()
	for {
		var quiet <-chan struct{}
		if c.pending != nil {
			quiet = c.pending.quiet
		}
		select {
		case m, ok := <-c.messages:
			if !ok {
				return
			}
			c.handle(m)
		case <-quiet:
			c.confirmPause()
		case <-ticker.c:
			ticker.heard(c.reporter.news(ticker.next()))
		case <-c.lull.ended:
			ticker.wake()
		case <-draining:
			draining = nil
			ticker.hasten()
		}
	}
}

// end lets a paused service accept again, and a held one close its idle
// connections: nobody is left who could say so.
func (c *session) end() {
	c.cancelPause()
	c.service.drain.hold(false)
	c.service.drain.retract()
	close(c.ended)
	if !isClosed(c.service.Draining()) {
		c.service.log.Info("the channel to the supervisor ended; serving on")
	}
	c.service.drain.unlessBegun(c.service.resume)
}

func (c *session) handle(m fdpass.Message) {
	switch m := m.(type) {
	case fdpass.Pause:
		c.pause(m)
	case fdpass.Resume:
		c.resume(m)
	case fdpass.Drain:
		c.service.drainFor(c, m)
	case fdpass.Hold:
		c.service.drain.hold(m.On)
	case fdpass.Error:
		c.service.log.Warn("the supervisor reports an error", "reason", m.Reason)
	default:
		c.tell(fdpass.Error{Reason: "unexpected message: a child is told to pause, resume, drain or hold"})
	}
}

// pause begins to pause; confirmPause answers. A second pause replaces the
// first.
func (c *session) pause(m fdpass.Pause) {
	c.cancelPause()
	p := &pendingPause{id: m.ID, cancel: make(chan struct{})}
	p.quiet = c.awaitQuiet(c.service.pause(), p.cancel)
	c.pending = p
}

// awaitQuiet returns a channel that is closed when all of gates are.
func (c *session) awaitQuiet(gates []<-chan struct{}, cancel <-chan struct{}) <-chan struct{} {
	all := make(chan struct{})
	// Joined by run: at its end, answer cancels what is pending.
	c.helpers.Go(func() {
		for _, quiet := range gates {
			select {
			case <-quiet:
			case <-cancel:
				return
			}
		}
		close(all)
	})
	return all
}

func (c *session) confirmPause() {
	id := c.pending.id
	c.pending = nil
	c.sendStats()
	c.service.log.Info("paused", "generation", c.service.Generation())
	c.tell(fdpass.Paused{ID: id, Accepted: c.service.accepted()})
}

func (c *session) cancelPause() {
	if c.pending != nil {
		close(c.pending.cancel)
		c.pending = nil
	}
}

func (c *session) resume(m fdpass.Resume) {
	c.cancelPause()
	if !c.service.drain.unlessBegun(c.service.resume) {
		c.tell(fdpass.Error{Reason: "cannot resume: this generation drains"})
		return
	}
	c.service.log.Info("resumed", "generation", c.service.Generation())
	c.tell(fdpass.Resumed{ID: m.ID})
}

// sendStats sends the statistics if the supervisor wants any.
func (c *session) sendStats() {
	if c.reporter != nil {
		c.reporter.all()
	}
}
