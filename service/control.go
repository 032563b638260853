package service

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/rejoin"
)

// control keeps the service in touch with its supervisor, and after that one's
// death with the next: one session follows the other.
type control struct {
	service *Service
	lull    *lull
	running sync.WaitGroup
	closing context.Context // ends with close
	finish  context.CancelFunc

	mu      sync.Mutex
	session *session // the present one, or the last one if that has ended
}

// newControl takes conn, the channel whose handoff is done.
func newControl(s *Service, conn *fdpass.Conn) *control {
	c := &control{service: s, lull: newLull()}
	c.closing, c.finish = context.WithCancel(context.Background())
	c.session = newSession(s, conn, s.welcome, c.lull)
	return c
}

// start starts to answer; close joins it.
func (c *control) start() {
	c.session.report()
	c.running.Go(c.keep)
}

// keep has one session after the other until close.
func (c *control) keep() {
	for s := c.now(); s != nil; s = c.rejoin(s.welcome) {
		s.run()
	}
}

// now is the present session, or the last one if there is none: nobody hears
// what is said there.
func (c *control) now() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// close ends the session, or the attempt to have another one.
func (c *control) close() error {
	c.mu.Lock()
	c.finish()
	err := c.session.conn.Close()
	c.mu.Unlock()
	c.running.Wait()
	return err
}

// gone reports whether the supervisor has gone away, for now at least: the
// channel has ended, and nobody listens where a supervisor would. One that is
// there and has closed the channel goes on with other generations.
func (c *control) gone() bool {
	s := c.now()
	return isClosed(s.ended) && !rejoin.Answers(s.welcome.Rendezvous)
}

// tell sends a message that the service can do without.
func (c *control) tell(m fdpass.Message) { c.now().tell(m) }

// sendStats sends the statistics if the supervisor wants any.
func (c *control) sendStats() { c.now().sendStats() }

// sayReady is without an error if nobody hears it now but the next supervisor
// will be told.
func (c *control) sayReady() error {
	s := c.now()
	err := s.send(fdpass.Ready{})
	if isOver(err) && s.welcome.Rendezvous != "" {
		return nil
	}
	return err
}

// isOver reports whether a message could not be sent because the session ended.
func isOver(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
