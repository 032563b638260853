package service

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A streamListener is a *net.TCPListener or a *net.UnixListener.
type streamListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// A listener pauses and counts. Accept may be called concurrently; while the
// service is paused, or the system short of something, it waits and returns no
// error.
type listener struct {
	inner  streamListener
	gate   gate
	conns  *registry
	closed chan struct{} // closed by Close
	limit  int           // of its accept queue when it came; 0 if it is not known
	once   sync.Once     // of closed
	// Set before the first Accept.
	log      *slog.Logger
	draining <-chan struct{} // nil: never
	// revival is how long a listener that was shut down is waited for; 0 if there
	// is nobody who would have it listen again.
	revival time.Duration
	lull    *lull // that a connection ends; nil if nobody wants to know
	// prepare, if set, readies a connection before anybody sees it.
	prepare func(*tracked)
	// sojourn, if set, tells how long a connection waited to be accepted.
	sojourn *sojourn
}

// listenerOf makes a listener of a descriptor, which it borrows: the listener
// holds a duplicate.
func listenerOf(fd int) (*listener, error) {
	inner, err := fileListener(fd)
	if err != nil {
		return nil, err
	}
	l := &listener{inner: inner, conns: newRegistry(), closed: make(chan struct{}), log: slog.Default(), limit: queueLimit(inner)}
	l.gate.setDeadline = inner.SetDeadline
	return l, nil
}

func fileListener(fd int) (streamListener, error) {
	f, err := fileOf(fd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	inner, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	stream, ok := inner.(streamListener)
	if !ok {
		inner.Close()
		return nil, fmt.Errorf("it is a %T", inner)
	}
	return stream, nil
}

// fileOf duplicates fd into a file for functions of package net. They call
// Fd on it, which leaves O_NONBLOCK alone only on a descriptor that had it when
// os.NewFile saw it; it belongs to the open file description, which every
// process that holds the socket shares (open(2)), so it must never be cleared.
func fileOf(fd int) (*os.File, error) {
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot make descriptor %d non-blocking: %w", fd, err)
	}
	own, err := duplicate(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot duplicate descriptor %d: %w", fd, err)
	}
	return os.NewFile(uintptr(own), "listener"), nil
}

// Accept tries again after an error that passes, with growing pauses: net/http
// would end its server for most of them. It waits outside the gate, so that a
// pause does not wait for it.
func (l *listener) Accept() (net.Conn, error) {
	var wait backoff
	var deaf deafness
	for {
		c, err := l.accept()
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, os.ErrDeadlineExceeded): // woken by a pause
		case isTemporary(err):
			l.log.Warn("cannot accept for now", "err", err, "again_in", wait.next())
			wait.sleep(l.closed, l.draining)
		case errors.Is(err, syscall.EINVAL) && l.mayBeRevived(&deaf):
			wait.shortest()
			wait.sleep(l.closed, l.draining)
		default:
			return nil, err
		}
	}
}

// deafness is a time in which a listener did not listen.
type deafness struct{ since, last time.Time }

// mayBeRevived reports whether a listener that does not listen, because somebody
// who shares it called shutdown(2), should be tried again.
func (l *listener) mayBeRevived(d *deafness) bool {
	if l.revival <= 0 {
		return false
	}
	now := time.Now()
	if now.Sub(d.last) > l.revival { // it is another time
		d.since = now
		l.log.Warn("somebody called shutdown(2) on the listener; waiting for the supervisor to have it listen again", "at_most", l.revival)
	}
	d.last = now
	return now.Sub(d.since) < l.revival
}

// accept registers the connection before it leaves the gate: once the gate is
// quiet, the registry holds every connection there will be.
func (l *listener) accept() (net.Conn, error) {
	if err := l.gate.enter(); err != nil {
		return nil, l.failed(err)
	}
	defer l.gate.leave()
	c, err := l.inner.Accept()
	if err != nil {
		return nil, err
	}
	l.lull.stir()
	return l.track(c), nil
}

func (l *listener) track(c net.Conn) net.Conn {
	switch v := c.(type) {
	case *net.TCPConn:
		t := &tcpConn{TCPConn: v}
		now := time.Now()
		l.register(&t.tracked, t, now, l.sojourn.of(v, now))
		return t
	case *net.UnixConn:
		u := &unixConn{UnixConn: v}
		l.register(&u.tracked, u, time.Now(), unknownSojourn)
		return u
	}
	return c // cannot be: a streamListener accepts nothing else
}

func (l *listener) register(t *tracked, c net.Conn, now time.Time, waited time.Duration) {
	t.conn, t.accepted = c, now
	if l.prepare != nil {
		l.prepare(t)
	}
	l.conns.add(t, waited)
}

// readSojourns has the listener note how long each connection waited, where the
// kernel tells. It is called before the first Accept.
func (l *listener) readSojourns() {
	l.sojourn = newSojourn(l.inner)
	l.conns.sojourns = l.sojourn != nil
}

func (l *listener) failed(err error) error {
	a := l.Addr()
	return &net.OpError{Op: "accept", Net: a.Network(), Addr: a, Err: err}
}

// Addr returns the address that the socket is bound to.
func (l *listener) Addr() net.Addr { return l.inner.Addr() }

// SyscallConn gives access to the descriptor, for socket options. It is the
// socket of every generation: what is set here is set for all.
func (l *listener) SyscallConn() (syscall.RawConn, error) { return l.inner.SyscallConn() }

// Close closes this process's copy of the socket; other generations keep
// theirs, and a socket file stays. Waiting calls of Accept return net.ErrClosed.
// Connections stay open.
func (l *listener) Close() error {
	err := l.inner.Close()
	l.gate.close()
	l.once.Do(func() { close(l.closed) })
	return err
}

// pause makes sure first that the kernel does not block: a foreign process that
// shares the socket may have cleared O_NONBLOCK, and a deadline would not wake
// the thread that sits in accept(2).
func (l *listener) pause() <-chan struct{} {
	_ = withFD(l.inner, func(fd int) { _ = syscall.SetNonblock(fd, true) })
	return l.gate.pause()
}

func (l *listener) resume() { l.gate.resume() }

// waiting reports whether connections wait in the accept queue.
func (l *listener) waiting() bool { return readable(l.inner) }
