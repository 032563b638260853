package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
)

// alone makes a service without a supervisor. Its listeners come from the process
// that it replaces, from systemd, or it opens them.
func alone(cfg Config) (*Service, error) {
	specs, err := listen.ParseSpecs(cfg.Listen)
	if err != nil {
		return nil, err
	}
	passed := takeActivation()
	s := newService(cfg)
	if s.solo, err = newSolo(s); err != nil {
		return nil, err
	}
	switch {
	case s.solo.before != nil:
		err = s.inherit(specs)
	case passed.isFor(os.Getpid()):
		err = s.activate(specs, passed)
	default:
		if passed.pid != "" {
			s.log.Warn("LISTEN_PID names another process: opening the listeners; a shell between systemd and this program must end with exec", "LISTEN_PID", passed.pid)
		}
		err = s.open(specs)
	}
	if err != nil {
		s.solo.fail(err)
		return nil, errors.Join(err, s.abandon())
	}
	if s.solo.before != nil {
		s.pause() // until it is told to serve
	}
	return s, nil
}

// open opens all listeners or none.
func (s *Service) open(specs []listen.Spec) error {
	sockets, err := listen.OpenAll(context.Background(), specs)
	if err != nil {
		return err
	}
	for i, socket := range sockets {
		if err := s.own(socket, socket.Network); err != nil {
			for _, rest := range sockets[i+1:] {
				err = errors.Join(err, rest.Close())
			}
			return err
		}
	}
	return nil
}

// own makes an endpoint of a socket, which it takes.
func (s *Service) own(socket *listen.Socket, network string) error {
	e, err := s.newEndpoint(socket.Name, network, socket.FD)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	e.socket = socket
	s.endpoints = append(s.endpoints, e)
	s.log.Info("listening", "name", socket.Name, "network", network, "address", socket.Addr)
	return nil
}

// activate takes the sockets that systemd passed.
func (s *Service) activate(specs []listen.Spec, a activation) error {
	s.solo.unit, s.solo.activated = true, true
	passed, err := a.sockets()
	if err != nil {
		return fmt.Errorf("cannot take the sockets that systemd passed: %w", err)
	}
	for i, p := range passed {
		if err := p.secure(); err != nil {
			closePassed(passed[:i])
			return fmt.Errorf("cannot take the sockets that systemd passed: %w", err)
		}
	}
	matched, err := matchPassed(specs, passed)
	if err != nil {
		closePassed(passed)
		return err
	}
	listeners := make([]fdpass.Listener, len(matched))
	for i, p := range matched {
		if listeners[i], err = describePassed(specs[i], p); err != nil {
			closePassed(passed)
			return err
		}
	}
	return s.adopt(listeners)
}

func closePassed(passed []passedSocket) {
	for _, p := range passed {
		closeFD(p.fd)
	}
}

// describePassed refuses a socket that is not of the kind that is wanted. Of
// which address it is, is the socket unit's affair.
func describePassed(want listen.Spec, p passedSocket) (fdpass.Listener, error) {
	l, err := fdpass.Describe(p.name, p.fd)
	if err != nil {
		return l, fmt.Errorf("%w: write one ListenStream= or ListenDatagram= in its socket unit, and not Accept=yes", err)
	}
	l.Kept = true
	if !want.Given() && isPacket(want.Network) != isPacket(l.Network) {
		return l, fmt.Errorf("cannot use listener %q: Config.Listen has %s, and systemd passed a socket of %s: write ListenStream= or ListenDatagram= in its socket unit as Config.Listen has it",
			p.name, want.URL(), l.Network)
	}
	return l, nil
}

// isPacket reports whether datagrams are received on a network.
func isPacket(network string) bool {
	return strings.HasPrefix(network, "udp") || network == "unixgram"
}

// inherit takes over what the process before leaves, and opens what that one did
// not have.
func (s *Service) inherit(specs []listen.Spec) error {
	e, err := s.solo.before.take()
	if err != nil {
		return err
	}
	s.solo.systemd = notifier{e.Notify, e.Watchdog}
	s.solo.unit, s.solo.activated = e.Unit, e.Activated
	if err := s.share(specs, e); err != nil {
		return err
	}
	return s.openRest(specs)
}

// share makes endpoints of what the specs want of an estate, which it takes.
// Sockets of systemd's are known by their names, others by their addresses.
func (s *Service) share(specs []listen.Spec, e estate) error {
	if err := s.checkActivated(specs, e); err != nil {
		e.close()
		return err
	}
	var failed error
	for _, h := range e.Listeners {
		at := slices.IndexFunc(specs, func(spec listen.Spec) bool { return h.isOf(spec) })
		if h.Kept {
			failed = errors.Join(failed, s.adopt([]fdpass.Listener{{Name: h.Name, Network: h.Network, FD: h.fd, Kept: true}}))
			continue
		}
		spec, err := listen.ParseSpec(h.Spec)
		if at >= 0 {
			spec, err = specs[at], nil
		}
		socket, adopted := listen.Adopt(spec, h.fd, h.File)
		if err = errors.Join(err, adopted); err != nil {
			closeFD(h.fd)
		} else if at < 0 {
			s.solo.spare = append(s.solo.spare, socket)
		} else {
			err = s.ownInherited(socket, h.Network)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// ownInherited is own for a socket whose file is not to be removed yet.
func (s *Service) ownInherited(socket *listen.Socket, network string) error {
	e, err := s.newEndpoint(socket.Name, network, socket.FD)
	if err != nil {
		return errors.Join(err, socket.Leave())
	}
	e.socket, e.inherited = socket, true
	s.endpoints = append(s.endpoints, e)
	return nil
}

// checkActivated holds a new release to what systemd passes, as its start would.
func (s *Service) checkActivated(specs []listen.Spec, e estate) error {
	if !e.Activated {
		return nil
	}
	passed := make([]passedSocket, len(e.Listeners))
	for i, h := range e.Listeners {
		passed[i] = passedSocket{h.Name, h.fd}
	}
	_, err := matchPassed(specs, passed)
	return err
}

// isOf reports whether the listener is the one that a spec wants.
func (h heirloom) isOf(want listen.Spec) bool {
	if h.Kept {
		return h.Name == want.Name
	}
	had, err := listen.ParseSpec(h.Spec)
	return err == nil && had.URL() == want.URL()
}

// openRest opens the listeners that nobody left, and puts all in the order of
// specs.
func (s *Service) openRest(specs []listen.Spec) error {
	for _, spec := range specs {
		if slices.ContainsFunc(s.endpoints, func(e *endpoint) bool { return e.name == spec.Name }) {
			continue
		}
		socket, err := listen.Open(context.Background(), spec)
		if err == nil {
			err = s.own(socket, spec.Network)
		}
		if err != nil {
			return err
		}
	}
	order := func(e *endpoint) int {
		return slices.IndexFunc(specs, func(spec listen.Spec) bool { return spec.Name == e.name })
	}
	slices.SortFunc(s.endpoints, func(a, b *endpoint) int { return order(a) - order(b) })
	return nil
}
