package service

import (
	"errors"
	"fmt"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/rejoin"
)

// rejoin returns the next session, or nil when there will be none: there is no
// rendezvous, the service has ended, or a supervisor has dismissed it.
func (c *control) rejoin(last fdpass.Welcome) *session {
	if last.Rendezvous == "" {
		return nil
	}
	search := rejoin.Search{
		Last: last, Introduce: c.service.introduction, Holds: c.service.holds, Log: c.service.log,
		Stopped: func() { c.service.drainMyself("stop: the folder of the supervisor is gone") },
	}
	home, err := search.Find(c.closing)
	if errors.Is(err, rejoin.ErrDismissed) {
		c.service.drainMyself("dismissed: another supervisor serves with generations of its own")
	}
	if err != nil {
		return nil
	}
	next := c.resume(home)
	if next == nil {
		_ = home.Conn.Close()
		return nil
	}
	w := home.Welcome
	c.service.log.Info("rejoined", "service", w.Service, "generation", w.Generation, "listeners", home.Given)
	return next
}

// introduction says how this generation is.
func (s *Service) introduction() fdpass.Rejoin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fdpass.Rejoin{Ready: s.ready, Draining: isClosed(s.Draining()), Library: library, Capabilities: capabilities()}
}

// resume begins a session, which takes the channel, unless close was called. What
// happened since the introduction is said now.
func (c *control) resume(home rejoin.Home) *session {
	next := newSession(c.service, home.Conn, home.Welcome, c.lull)
	next.report()
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	if !c.follow(next) {
		return nil
	}
	if c.service.ready && !home.Said.Ready {
		next.tell(fdpass.Ready{})
	}
	if c.service.failure != nil {
		next.tell(fdpass.Failed{Reason: c.service.failure.Error()})
	}
	return next
}

// follow makes next the present session, unless close was called.
func (c *control) follow(next *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Err() != nil {
		return false
	}
	c.session = next
	return true
}

// holds describes the listeners that this process holds, with duplicates of
// their descriptors, which it gives. The error says which are left out.
func (s *Service) holds() (all []fdpass.Listener, failed error) {
	for _, e := range s.endpoints {
		l, ok, err := e.holds()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot give listener %q back: %w", e.name, err))
		}
		if ok {
			all = append(all, l)
		}
	}
	return all, failed
}
