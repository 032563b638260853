package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restTimeout is how long it may take to bring the server to rest. One who cannot
// be answered or carried within it, such as somebody who waits for a stop, prevents
// the replacement.
const restTimeout = 5 * time.Second

// Carry brings the server to rest, so that another binary can take the place of
// this one: it stops accepting, finishes short requests, and gives what is left,
// the streams that wait and those who have asked for the replacement. No line is
// half written, and nothing is sent any more. Whoever connects from now on waits
// in the accept queue of the listener that Serve was given.
//
// The supervisor must be answering meanwhile. The descriptors are the caller's:
// for an exec, which must clear their close-on-exec flag, or for Uncarry. With
// an error, which is that of ctx or that a descriptor could not be duplicated,
// the server goes on as before.
func (s *Server) Carry(ctx context.Context) ([]Carried, error) {
	ctx, cancel := context.WithTimeout(ctx, restTimeout)
	defer cancel()
	carried, err := s.carry(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot bring the control socket to rest: %w", err), s.Uncarry(carried))
	}
	return carried, nil
}

func (s *Server) carry(ctx context.Context) ([]Carried, error) {
	d := s.door.Load()
	if d == nil {
		return nil, errors.New("it does not serve yet")
	}
	rests, err := d.shut()
	if err != nil {
		return nil, err
	}
	select {
	case <-rests:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	carried, err := s.guests.carry(ctx)
	if err != nil {
		return carried, err
	}
	for _, st := range s.guests.replacing() {
		c, err := st.carry()
		if err != nil {
			return carried, err
		}
		carried = append(carried, c)
	}
	return carried, nil
}

// Uncarry goes on as before Carry, which returned c. It takes the descriptors.
// An error means that nobody can connect any more.
func (s *Server) Uncarry(c []Carried) error {
	s.guests.stay()
	for _, one := range c {
		if one.Kind == KindReexec { // its handler is still there
			_ = unix.Close(one.Descriptor)
			continue
		}
		s.resume(one)
	}
	if d := s.door.Load(); d != nil {
		return d.open()
	}
	return nil
}

// Resume goes on with what the server of another process has carried, and tells
// those who have asked for the replacement that it has happened. It takes the
// descriptors; one that cannot be used is closed and logged. The supervisor must
// know its requests by now.
func (s *Server) Resume(c []Carried) {
	for _, one := range c {
		s.resume(one)
	}
}

// resume goes on with one stream, which Shutdown waits for.
func (s *Server) resume(c Carried) {
	conn, err := connOf(c.Descriptor)
	if err != nil {
		s.cfg.Logger.Warn("cannot go on with an answer", "kind", string(c.Kind), "request", c.Request, "error", err)
		return
	}
	if c.Kind == KindReexec {
		s.going.Go(func() { s.replaced(conn, c) })
		return
	}
	st := &stream{conn: conn, order: c}
	ctx, answer := s.guests.enter(st), s.resumed
	if c.Kind == KindQueue {
		answer = s.resumeWatch
	}
	s.going.Go(func() { s.answerStream(ctx, st, answer) })
}

// resumed goes on with a stream that has begun already.
func (s *Server) resumed(ctx context.Context, st *stream) {
	switch st.order.Kind {
	case KindVerdict:
		s.report(ctx, st, s.await(st.order.Request))
	case KindQueue:
		s.snapshots(ctx, st)
	default: // of a later version
		s.cfg.Logger.Warn("cannot go on with an answer of an unknown kind", "kind", string(st.order.Kind))
	}
}

// replaced tells one who has asked for it that the replacement has happened.
func (s *Server) replaced(conn net.Conn, c Carried) {
	done := replaced{Replaced{To: s.cfg.Version, Seconds: max(0, time.Since(c.Since).Seconds())}}
	if c.From != nil {
		done.Reexec.From = *c.From
	}
	answerOn(conn, http.StatusOK, done)
}

// carry gives a duplicate of the connection's descriptor, with what is needed
// to go on.
func (st *stream) carry() (Carried, error) {
	c := st.order
	socket, ok := st.conn.(syscall.Conn)
	if !ok {
		return Carried{}, fmt.Errorf("a connection of type %T has no descriptor", st.conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Carried{}, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		c.Descriptor, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, failed); err != nil {
		return Carried{}, fmt.Errorf("cannot duplicate a connection: %w", err)
	}
	return c, nil
}

// connOf takes a descriptor, also if it is of no use.
func connOf(descriptor int) (net.Conn, error) {
	f := os.NewFile(uintptr(descriptor), "control connection")
	if f == nil {
		return nil, fmt.Errorf("%d is no descriptor", descriptor)
	}
	conn, err := net.FileConn(f) // a duplicate
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("descriptor %d is no connection: %w", descriptor, err)
	}
	return conn, nil
}
