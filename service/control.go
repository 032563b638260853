package service

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
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

// control answers the supervisor. When the channel ends, the service goes on.
type control struct {
	service  *Service
	conn     *fdpass.Conn
	reporter *reporter // nil: the supervisor wants no statistics; set by start
	sending  sync.Mutex
	running  sync.WaitGroup
	messages chan fdpass.Message // from read to run; closed at the end of the channel
	ended    chan struct{}       // closed at the end of the channel
	lull     *lull
	pending  *pendingPause // of run only
}

// A pendingPause is a pause that is asked for and not yet answered.
type pendingPause struct {
	id     uint64
	quiet  <-chan struct{}
	cancel chan struct{}
}

func newControl(s *Service, conn *fdpass.Conn) *control {
	return &control{
		service:  s,
		conn:     conn,
		messages: make(chan fdpass.Message),
		ended:    make(chan struct{}),
		lull:     newLull(),
	}
}

// start starts to answer; close joins it.
func (c *control) start() {
	if c.service.welcome.StatsMS > 0 {
		c.reporter = newReporter(c.service.endpoints, c.tell)
	}
	c.running.Go(c.read)
	c.running.Go(c.run)
}

func (c *control) close() error {
	err := c.conn.Close()
	c.running.Wait()
	return err
}

// gone reports whether the supervisor has gone away.
func (c *control) gone() bool { return isClosed(c.ended) }

// send sends one message.
func (c *control) send(m fdpass.Message) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	return c.conn.Send(m)
}

// tell sends a message that the service can do without.
func (c *control) tell(m fdpass.Message) {
	err := c.send(m)
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, net.ErrClosed) {
		c.service.log.Warn("the supervisor does not listen", "err", err)
	}
}

// read hands the messages to run until the channel ends.
func (c *control) read() {
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

func (c *control) run() {
	defer c.end()
	ticker := newStatsTicker(c.service.welcome.StatsMS, c.lull)
	defer ticker.stop()
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
func (c *control) end() {
	c.cancelPause()
	c.service.drain.hold(false)
	close(c.ended)
	if !isClosed(c.service.Draining()) {
		c.service.log.Info("the channel to the supervisor ended; serving on")
		c.service.resume()
	}
}

func (c *control) handle(m fdpass.Message) {
	switch m := m.(type) {
	case fdpass.Pause:
		c.pause(m)
	case fdpass.Resume:
		c.resume(m)
	case fdpass.Drain:
		c.service.drainFor(m)
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
func (c *control) pause(m fdpass.Pause) {
	c.cancelPause()
	p := &pendingPause{id: m.ID, cancel: make(chan struct{})}
	p.quiet = c.awaitQuiet(c.service.pause(), p.cancel)
	c.pending = p
}

// awaitQuiet returns a channel that is closed when all of gates are.
func (c *control) awaitQuiet(gates []<-chan struct{}, cancel <-chan struct{}) <-chan struct{} {
	all := make(chan struct{})
	// Joined by close: at its end, run cancels what is pending.
	c.running.Go(func() {
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

func (c *control) confirmPause() {
	id := c.pending.id
	c.pending = nil
	c.sendStats()
	c.service.log.Info("paused", "generation", c.service.Generation())
	c.tell(fdpass.Paused{ID: id, Accepted: c.service.accepted()})
}

func (c *control) cancelPause() {
	if c.pending != nil {
		close(c.pending.cancel)
		c.pending = nil
	}
}

func (c *control) resume(m fdpass.Resume) {
	if isClosed(c.service.Draining()) {
		c.tell(fdpass.Error{Reason: "cannot resume: this generation drains"})
		return
	}
	c.cancelPause()
	c.service.resume()
	c.service.log.Info("resumed", "generation", c.service.Generation())
	c.tell(fdpass.Resumed{ID: m.ID})
}

// sendStats sends the statistics if the supervisor wants any.
func (c *control) sendStats() {
	if c.reporter != nil {
		c.reporter.all()
	}
}
