package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// rejoinTimeout bounds one attempt, for a supervisor that is busy.
	rejoinTimeout = 10 * time.Second
	// maxComplaints is how many different reasons of failed attempts are logged.
	maxComplaints = 16
)

// A homecoming is the way of a service to the supervisor that goes on where its
// own one was.
type homecoming struct {
	*control
	last       fdpass.Welcome
	search     search
	complaints []string
}

// rejoin returns the next session, or nil when there will be none: there is no
// rendezvous, the service has ended, or a supervisor has dismissed it.
func (c *control) rejoin(last fdpass.Welcome) *session {
	if last.Rendezvous == "" {
		return nil
	}
	h := homecoming{control: c, last: last}
	for wait := firstSearch; c.sleep(wait); {
		s, err := h.try()
		if err == nil {
			return s
		}
		var told bool
		if wait, told = h.failed(err); told {
			return nil
		}
	}
	return nil
}

// sleep reports whether the service goes on.
func (c *control) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closing:
		return false
	}
}

// failed judges an attempt and returns how long to wait for the next one, or
// that there will be none.
func (h *homecoming) failed(err error) (wait time.Duration, last bool) {
	found := findingOf(err, h.last.Rendezvous)
	if found == dismissed {
		h.complain(err)
		h.service.drainMyself("dismissed: another supervisor serves with generations of its own")
		return 0, true
	}
	wait, stopped := h.search.next(found, time.Now())
	if found == refused || found == trouble {
		h.complain(err)
	}
	if stopped {
		h.service.drainMyself("stop: the folder of the supervisor is gone")
	}
	return wait, false
}

func findingOf(err error, rendezvous string) finding {
	var said *fdpass.PeerError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(rendezvous)); errors.Is(err, fs.ErrNotExist) {
			return noFolder
		}
		return nobody
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EAGAIN):
		return nobody
	case errors.As(err, &said) && said.Dismissed:
		return dismissed
	case errors.As(err, &said), errors.Is(err, fdpass.ErrProtocol):
		return refused
	}
	return trouble
}

// complain logs each reason once. None has the token in it.
func (h *homecoming) complain(err error) {
	reason := err.Error()
	if slices.Contains(h.complaints, reason) || len(h.complaints) == maxComplaints {
		return
	}
	h.complaints = append(h.complaints, reason)
	h.service.log.Warn("cannot rejoin the supervisor yet; serving on",
		"generation", h.service.Generation(), "rendezvous", h.last.Rendezvous, "err", err)
}

// try is one attempt.
func (h *homecoming) try() (*session, error) {
	conn, err := fdpass.DialRendezvous(h.last.Rendezvous)
	if err != nil {
		return nil, err
	}
	if !h.attend(conn) {
		return nil, errors.Join(os.ErrClosed, conn.Close())
	}
	r := h.service.introduction(h.last)
	w, given, err := h.giveBack(conn, r)
	if err == nil {
		if s := h.resume(conn, w, r); s != nil {
			h.service.log.Info("rejoined", "service", w.Service, "generation", w.Generation, "listeners", given)
			return s, nil
		}
		err = os.ErrClosed
	}
	h.attend(nil)
	return nil, errors.Join(err, conn.Close())
}

// attend has close interrupt what goes on at conn. It reports false if close was
// called already.
func (c *control) attend(conn *fdpass.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempt = conn
	return !isClosed(c.closing)
}

// introduction says who this generation is, as the last welcome has it.
func (s *Service) introduction(last fdpass.Welcome) fdpass.Rejoin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fdpass.Rejoin{
		Service:      last.Service,
		Generation:   last.Generation,
		Token:        last.Token,
		Ready:        s.ready,
		Draining:     isClosed(s.Draining()),
		Library:      library,
		Capabilities: capabilities(),
	}
}

// giveBack gives the supervisor the listeners that this process still holds.
func (h *homecoming) giveBack(conn *fdpass.Conn, r fdpass.Rejoin) (w fdpass.Welcome, given int, err error) {
	deadline := time.Now().Add(rejoinTimeout)
	if err := errors.Join(conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline)); err != nil {
		return w, 0, err
	}
	listeners, err := h.service.holds()
	if err != nil {
		h.complain(err)
	}
	defer func() {
		for _, l := range listeners {
			closeFD(l.FD)
		}
	}()
	w, err = fdpass.GiveBack(conn, r, listeners)
	return w, len(listeners), errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

// resume begins a session, which takes conn, unless close was called. What
// happened since the introduction is said now.
func (h *homecoming) resume(conn *fdpass.Conn, w fdpass.Welcome, said fdpass.Rejoin) *session {
	next := newSession(h.service, conn, w, h.lull)
	next.report()
	h.service.mu.Lock()
	defer h.service.mu.Unlock()
	if !h.follow(next) {
		return nil
	}
	if h.service.ready && !said.Ready {
		next.tell(fdpass.Ready{})
	}
	if h.service.failure != nil {
		next.tell(fdpass.Failed{Reason: h.service.failure.Error()})
	}
	return next
}

// follow makes next the present session, unless close was called.
func (c *control) follow(next *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isClosed(c.closing) {
		return false
	}
	c.session, c.attempt = next, nil
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
