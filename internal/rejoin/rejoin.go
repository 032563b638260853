// Package rejoin is how a generation finds the supervisor that goes on where its
// own one was, and comes back to it (docs/protocol.md, "After the supervisor").
package rejoin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// attemptTimeout bounds one attempt, for a supervisor that is busy.
	attemptTimeout = 10 * time.Second
	// maxComplaints is how many different reasons of failed attempts are logged.
	maxComplaints = 16
)

// A Search looks for the next supervisor of a generation that has lost its own.
// Its functions are called by the goroutine of Find.
type Search struct {
	// Last is what that one said.
	Last fdpass.Welcome
	// Introduce says how the generation is; who it is, Find adds.
	Introduce func() fdpass.Rejoin
	// Holds describes the listeners that the process holds, with duplicates of
	// their descriptors, which it gives. The error says which are left out.
	Holds func() ([]fdpass.Listener, error)
	// Stopped is told that the service was stopped: the directory of the
	// rendezvous has been missing for a second. The search goes on.
	Stopped func()
	Log     *slog.Logger

	pace       pace
	complaints []string
}

// A Home is the channel to the next supervisor, which the caller owns.
type Home struct {
	Conn    *fdpass.Conn
	Welcome fdpass.Welcome
	// Said is what the generation said of itself. What has happened since then is
	// for the caller to say.
	Said fdpass.Rejoin
	// Given is how many listeners were given back.
	Given int
}

// ErrDismissed tells that a supervisor goes on without this generation, which is
// to drain.
var ErrDismissed = errors.New("another supervisor serves with generations of its own")

// Find looks until it has found one. The error is ErrDismissed, or that of ctx.
func (s *Search) Find(ctx context.Context) (Home, error) {
	timer := time.NewTimer(firstSearch)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Home{}, ctx.Err()
		}
		home, err := s.try(ctx)
		if err == nil {
			return home, nil
		}
		wait, told := s.failed(err)
		if told {
			return Home{}, ErrDismissed
		}
		timer.Reset(wait)
	}
}

// Answers reports whether a supervisor listens at the rendezvous; it is told
// nothing. An empty path is that of none.
func Answers(rendezvous string) bool {
	if rendezvous == "" {
		return false
	}
	conn, err := fdpass.DialRendezvous(rendezvous)
	if err != nil {
		return errors.Is(err, syscall.EAGAIN) // it has no time to accept
	}
	_ = conn.Close()
	return true
}

// failed judges an attempt and returns how long to wait for the next one, or
// that there will be none.
func (s *Search) failed(err error) (wait time.Duration, last bool) {
	found := findingOf(err, s.Last.Rendezvous)
	if found == dismissed {
		s.complain(err)
		return 0, true
	}
	wait, stopped := s.pace.next(found, time.Now())
	if found == refused || found == trouble {
		s.complain(err)
	}
	if stopped {
		s.Stopped()
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
func (s *Search) complain(err error) {
	reason := err.Error()
	if slices.Contains(s.complaints, reason) || len(s.complaints) == maxComplaints {
		return
	}
	s.complaints = append(s.complaints, reason)
	s.Log.Warn("cannot rejoin the supervisor yet; serving on",
		"generation", s.Last.Generation, "rendezvous", s.Last.Rendezvous, "err", err)
}

// try is one attempt. The end of ctx interrupts it.
func (s *Search) try(ctx context.Context) (Home, error) {
	conn, err := fdpass.DialRendezvous(s.Last.Rendezvous)
	if err != nil {
		return Home{}, err
	}
	calledOff := context.AfterFunc(ctx, func() { _ = conn.Close() })
	home, err := s.comeBack(conn)
	if !calledOff() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		return Home{}, errors.Join(err, conn.Close())
	}
	return home, nil
}

// comeBack says who this is and gives the supervisor the listeners that this
// process still holds.
func (s *Search) comeBack(conn *fdpass.Conn) (home Home, err error) {
	deadline := time.Now().Add(attemptTimeout)
	if err := errors.Join(conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline)); err != nil {
		return Home{}, err
	}
	home.Conn, home.Said = conn, s.Introduce()
	home.Said.Service, home.Said.Generation, home.Said.Token = s.Last.Service, s.Last.Generation, s.Last.Token
	listeners, err := s.Holds()
	if err != nil {
		s.complain(err)
	}
	defer func() {
		for _, l := range listeners {
			_ = syscall.Close(l.FD)
		}
	}()
	home.Given = len(listeners)
	home.Welcome, err = fdpass.GiveBack(conn, home.Said, listeners)
	return home, errors.Join(err, conn.SetReadDeadline(time.Time{}))
}
