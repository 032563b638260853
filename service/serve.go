package service

import (
	"context"
	"net"
	"sync"
)

// Serve registers handle for the connections of a listener: Run accepts them
// and calls handle for each in a goroutine of its own. The connection is closed
// when handle returns.
//
// The context ends when the drain deadline has come, just before the connection
// is closed. A handler of long connections listens to Draining besides, and
// brings its conversation to an end in its own protocol's way. Draining does not
// wake one that waits in a read: set a read deadline when it is closed.
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
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		handlers.Go(func() {
			defer c.Close()
			handle(s.cutting, c)
		})
	}
}
