package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/rejoin"
	"golang.org/x/sys/unix"
)

// sendTimeout bounds a message to a supervisor that does not read.
const sendTimeout = 5 * time.Second

// A session is one channel to a supervisor.
type session struct {
	conn     *fdpass.Conn
	welcome  fdpass.Welcome
	messages chan fdpass.Message
	closed   chan struct{}
	log      *slog.Logger
}

// newSession takes conn and reads what the supervisor says.
func (s *shim) newSession(conn *fdpass.Conn, w fdpass.Welcome) *session {
	c := &session{conn: conn, welcome: w, messages: make(chan fdpass.Message), closed: make(chan struct{}), log: s.log}
	go c.read() // it ends with the channel, which close ends
	return c
}

func (c *session) read() {
	defer close(c.messages)
	for {
		m, fds, err := c.conn.Receive()
		for _, fd := range fds {
			_ = syscall.Close(fd) // nothing that comes after the handoff carries any
		}
		var bad *fdpass.MessageError
		switch {
		case errors.As(err, &bad):
			c.log.Warn("message not understood", "error", bad)
			c.tell(fdpass.Error{Reason: bad.Error()})
			continue
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.log.Warn("channel lost", "error", err)
			}
			return
		}
		select {
		case c.messages <- m:
		case <-c.closed:
			return
		}
	}
}

func (c *session) tell(m fdpass.Message) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err := c.conn.Send(m); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, net.ErrClosed) {
		c.log.Warn("the supervisor does not listen", "error", err)
	}
}

func (c *session) close() {
	close(c.closed)
	_ = c.conn.Close()
}

// messages are those of the supervisor; none comes while there is none.
func (s *shim) messages() <-chan fdpass.Message {
	if s.session == nil {
		return nil
	}
	return s.session.messages
}

// lostSupervisor looks for the next one. The program serves on.
func (s *shim) lostSupervisor(ctx context.Context) {
	last := s.session
	last.close()
	s.session, s.orders = nil, nil // to the next one their numbers mean nothing
	if last.welcome.Rendezvous == "" {
		return
	}
	s.log.Info("the channel to the supervisor ended; the program serves on")
	// Introduce is called by another goroutine: what it says is of this moment. What
	// changes meanwhile is said when the session begins.
	said := fdpass.Rejoin{Ready: s.ready, Draining: s.draining, Library: library(s.cfg), Capabilities: capabilities()}
	search := rejoin.Search{
		Last: last.welcome, Log: s.log, Holds: s.holds,
		Introduce: func() fdpass.Rejoin { return said },
		Stopped:   func() { s.tellSelf(word{end: "the folder of the supervisor is gone: the service was stopped"}) },
	}
	s.searching.Go(func() { // it ends when it has found one, or with the shim
		home, err := search.Find(ctx)
		switch {
		case err == nil:
			select {
			case s.homes <- home:
			case <-s.over:
				_ = home.Conn.Close()
			}
		case errors.Is(err, rejoin.ErrDismissed):
			s.tellSelf(word{end: "dismissed: " + err.Error()})
		}
	})
}

// holds duplicates the listeners, for whoever is given them.
func (s *shim) holds() (all []fdpass.Listener, failed error) {
	for _, l := range s.listeners {
		fd, err := unix.FcntlInt(uintptr(l.FD), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot give listener %q back: %w", l.Name, err))
			continue
		}
		l.FD = fd
		all = append(all, l)
	}
	return all, failed
}

// rejoined begins a session with the next supervisor, and says what has changed
// since it was told how things are.
func (s *shim) rejoined(home rejoin.Home) {
	s.session = s.newSession(home.Conn, home.Welcome)
	s.log.Info("rejoined", "listeners", home.Given)
	s.tellCounts()
	if s.ready && !home.Said.Ready {
		s.say(fdpass.Ready{})
	}
	if s.failed != "" {
		s.say(fdpass.Failed{Reason: s.failed})
	}
}
