package service

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Serve registers handle for the connections of a listener: Run accepts them
// and calls handle for each in a goroutine of its own. The connection is closed
// when handle returns.
//
// The context ends when the drain deadline has come, just before the connection
// is closed. A handler of long connections listens to Draining besides, and
// brings its conversation to an end in its own protocol's way.
func (s *Service) Serve(name string, handle func(context.Context, net.Conn)) error {
	e, err := s.claim(name, false)
	if err != nil {
		return err
	}
	return s.register(e, func() error { return s.acceptLoop(e.listener, handle) })
}

// acceptLoop returns when the listener is closed or broken and every handler
// has returned.
func (s *Service) acceptLoop(l net.Listener, handle func(context.Context, net.Conn)) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	var wait backoff
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			handlers.Go(func() {
				defer c.Close()
				handle(s.cutting, c)
			})
		case isTemporary(err):
			s.log.Warn("cannot accept for now", "err", err, "again_in", wait.next())
			wait.sleep(s.Draining())
		default:
			return err
		}
	}
}

// isTemporary tells want of a resource, or trouble of the one connection that
// was being accepted (accept(2)), from a listener that is closed or broken.
func isTemporary(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A backoff is the last time waited: 5 ms at first, doubled up to a second.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = backoff(min(max(2*time.Duration(*b), 5*time.Millisecond), time.Second))
	return time.Duration(*b)
}

// sleep waits for the time that next gave, or until hurry is closed: then no
// longer than the shortest one.
func (b *backoff) sleep(hurry <-chan struct{}) {
	timer := time.NewTimer(time.Duration(*b))
	defer timer.Stop()
	if isClosed(hurry) {
		<-time.After(min(time.Duration(*b), 5*time.Millisecond))
		return
	}
	select {
	case <-timer.C:
	case <-hurry:
	}
}
