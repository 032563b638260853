package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"example.com/supervisor/fdpass"
)

// A Service is the program as one generation under a supervisor, or alone. Its
// methods may be called concurrently; everything is registered before Run.
type Service struct {
	cfg       Config
	log       *slog.Logger
	welcome   fdpass.Welcome
	control   *control // nil when alone
	solo      *solo    // nil under a supervisor
	health    *health  // nil when there is no probe
	endpoints []*endpoint

	drain drain
	// cutting ends when the drain deadline has come: the context of the
	// handlers of Serve.
	cutting context.Context
	cut     context.CancelFunc

	mu      sync.Mutex
	servers []server
	https   []*httpServer
	hooks   []hook
	ready   bool
	running bool
	failure error // what Fail was last told
}

// A server serves one endpoint: run returns when the endpoint is closed.
type server struct {
	name string
	run  func() error
}

// Supervised reports whether a supervisor started this process.
func (s *Service) Supervised() bool { return s.control != nil }

// Name returns the service's name as the supervisor has it, or "" without one.
func (s *Service) Name() string { return s.welcome.Service }

// Generation returns the number of this generation, counted from 1, or 0
// without a supervisor.
func (s *Service) Generation() int { return s.welcome.Generation }

// Names returns the names of the listeners, in the supervisor's order.
func (s *Service) Names() []string {
	names := make([]string, len(s.endpoints))
	for i, e := range s.endpoints {
		names[i] = e.name
	}
	return names
}

// Listener returns the stream listener of that name, always the same one. While
// the service is paused, Accept waits; once it drains, Accept returns
// net.ErrClosed. Errors that pass, for want of descriptors for instance, are
// logged and Accept tries again: what it returns is final. The connections are counted until they are closed; they have
// the methods of *net.TCPConn or *net.UnixConn and keep their use of sendfile
// and splice. The listener has SyscallConn too; closing it closes this process's
// copy only.
//
// The error says which names there are.
func (s *Service) Listener(name string) (net.Listener, error) {
	e, err := s.claim(name, false)
	if err != nil {
		return nil, err
	}
	return e.listener, nil
}

// PacketConn returns the datagram socket of that name (udp, unixgram), always
// the same one; it has the methods of *net.UDPConn or *net.UnixConn. While the
// service is paused, reads wait; once it drains they return net.ErrClosed, but
// answers can still be written. In a final drain, after which nobody reads, they
// go on until the queue is empty, for half of the drain's time at most. Close
// the socket when the last answer is written: the drain waits for that, for
// [Config].IdleTimeout at most.
func (s *Service) PacketConn(name string) (net.PacketConn, error) {
	e, err := s.claim(name, true)
	if err != nil {
		return nil, err
	}
	return e.user, nil
}

// claim finds an endpoint and notes that the program uses it.
func (s *Service) claim(name string, packets bool) (*endpoint, error) {
	i := slices.IndexFunc(s.endpoints, func(e *endpoint) bool { return e.name == name })
	if i < 0 {
		return nil, fmt.Errorf("cannot use listener %q: %s", name, s.explainMissing(name))
	}
	e := s.endpoints[i]
	switch {
	case packets && e.packets == nil:
		return nil, fmt.Errorf("cannot use listener %q as a PacketConn: it accepts connections; use Listener", name)
	case !packets && e.listener == nil:
		return nil, fmt.Errorf("cannot use listener %q as a Listener: it receives datagrams; use PacketConn", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.used = true
	return e, nil
}

func (s *Service) explainMissing(name string) string {
	have := "there are none"
	if len(s.endpoints) > 0 {
		have = "there are: " + strings.Join(s.Names(), ", ")
	}
	if s.Supervised() {
		return fmt.Sprintf("the supervisor has none of that name (%s); start it with --listen %s=ADDRESS", have, name)
	}
	return fmt.Sprintf("Config.Listen has none of that name (%s)", have)
}

// register adds a server for an endpoint that nothing else serves.
func (s *Service) register(e *endpoint, run func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return fmt.Errorf("cannot serve listener %q: Run was called already", e.name)
	}
	if slices.ContainsFunc(s.servers, func(v server) bool { return v.name == e.name }) {
		return fmt.Errorf("cannot serve listener %q: it is served already", e.name)
	}
	s.servers = append(s.servers, server{e.name, run})
	return nil
}

// Draining returns a channel that is closed when the service begins to drain:
// the time for long streams and hijacked connections to come to an end.
func (s *Service) Draining() <-chan struct{} { return s.drain.begun }

// Ready tells the supervisor that the service accepts connections. Run does so
// too; only a program that serves its listeners itself may want to be earlier.
// Calls after the first do nothing.
func (s *Service) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	if s.control != nil {
		if err := s.control.sayReady(); err != nil {
			return fmt.Errorf("cannot say ready: %w", err)
		}
	}
	if s.solo != nil {
		if err := s.solo.sayReady(); err != nil {
			return fmt.Errorf("cannot say ready: %w", err)
		}
	}
	s.ready = true
	s.log.Info("ready", "generation", s.Generation())
	return nil
}

// Fail tells the supervisor why the service cannot do its work, and has the
// health endpoint say so from now on. A candidate is aborted or rolled back for
// it; the program itself goes on until it returns or is stopped. It is of use
// before Run, too: a program that says why before it exits gives the verdict
// that reason, rather than "exited with status 1".
func (s *Service) Fail(err error) {
	if err == nil {
		err = errors.New("no reason given")
	}
	s.log.Error("failed", "generation", s.Generation(), "err", err)
	if s.health != nil {
		s.health.fail(err)
	}
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
	if s.control != nil {
		s.control.tell(fdpass.Failed{Reason: err.Error()})
	}
	s.solo.fail(err)
}

// HandleHealth has h answer the supervisor's health requests instead of "200
// ok". Their path is that of its --probe; without one it sends none. After Fail
// the answer is 503 with the reason, whatever h is.
func (s *Service) HandleHealth(h http.Handler) {
	if s.health != nil {
		s.health.handle(h)
	}
}
