package service

import (
	"context"
	"errors"
	"fmt"

	"example.com/supervisor/fdpass"
)

// Join makes this process a generation of the service that its supervisor runs:
// it takes over the listeners and says what it can do. Without a supervisor it
// takes those that systemd passes, or opens those of cfg.Listen, so that the
// program runs alone (see [Config]). The environment keeps no trace of the
// supervisor, or of systemd's sockets, for programs that this one starts.
//
// Join is called once, early; from then on the supervisor's requests are
// answered.
func Join(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	conn, err := fdpass.FromEnv()
	if errors.Is(err, fdpass.ErrNoSupervisor) {
		return alone(cfg)
	}
	if err != nil {
		return nil, err
	}
	return join(conn, cfg)
}

// join takes conn.
func join(conn *fdpass.Conn, cfg Config) (*Service, error) {
	s := newService(cfg)
	welcome, passed, probe, err := fdpass.Accept(conn, fdpass.Hello{
		Library:      library,
		Capabilities: capabilities(),
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s.welcome = welcome
	s.control = newControl(s, conn)
	if err := errors.Join(s.adopt(passed), s.serveHealth(probe)); err != nil {
		// The supervisor hears the reason; its channel is closed after it.
		s.control.tell(fdpass.Failed{Reason: err.Error()})
		return nil, errors.Join(err, s.abandon())
	}
	s.control.start()
	s.log.Info("joined", "service", welcome.Service, "generation", welcome.Generation, "listeners", len(passed))
	return s, nil
}

// library is what implements the protocol, for people.
const library = "service/go"

// capabilities are what this package can do.
func capabilities() []string {
	return []string{fdpass.CanPause, fdpass.CanStats, fdpass.CanProbe, fdpass.CanHold}
}

func newService(cfg Config) *Service {
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, log: cfg.Logger}
	s.drain.begun = make(chan struct{})
	s.cutting, s.cut = context.WithCancel(context.Background())
	return s
}

// adopt makes endpoints of the listeners and takes their descriptors.
func (s *Service) adopt(passed []fdpass.Listener) error {
	var failed error
	for _, l := range passed {
		if failed == nil {
			var e *endpoint
			if e, failed = s.newEndpoint(l.Name, l.Network, l.FD); failed == nil {
				e.kept = l.Kept
				s.endpoints = append(s.endpoints, e)
			}
		}
		closeFD(l.FD)
	}
	return failed
}

// serveHealth takes fd, which is -1 when there is no probe.
func (s *Service) serveHealth(fd int) error {
	if fd < 0 {
		return nil
	}
	defer closeFD(fd)
	inner, err := fileListener(fd)
	if err != nil {
		return fmt.Errorf("cannot use the probe socket: %w", err)
	}
	s.health = startHealth(inner)
	return nil
}

// abandon closes everything that a service holds.
func (s *Service) abandon() error {
	if s.solo != nil && !s.solo.last() {
		s.solo.leave()
	}
	for _, e := range s.endpoints {
		e.close()
	}
	for _, h := range s.https {
		h.stop()
	}
	if s.health != nil {
		s.health.close()
	}
	s.cut()
	if s.solo != nil {
		s.solo.close()
	}
	if s.control != nil {
		return s.control.close()
	}
	return nil
}
