package service

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
)

// revival is how long a supervisor has to have a listener listen again that
// somebody shut down. It notices within half a second.
const revival = 3 * time.Second

// An endpoint is one named socket of the service: a listener or, for datagrams,
// packets. Which of the two is set does not change.
type endpoint struct {
	name      string
	network   string
	listener  *listener
	packets   *packets
	user      net.PacketConn // what the program gets for packets
	socket    *listen.Socket // if this process opened it
	kept      bool           // the service manager holds it too
	inherited bool           // from the process before, which an upgrade replaces
	server    *httpServer    // if an http.Server serves it; set before Run
	used      bool           // the program asked for it; under Service.mu
}

// newEndpoint borrows fd.
func (s *Service) newEndpoint(name, network string, fd int) (*endpoint, error) {
	e := &endpoint{name: name, network: network}
	var err error
	if isPacket(network) {
		e.packets, e.user, err = packetsOf(fd)
	} else if e.listener, err = listenerOf(fd); err == nil {
		e.listener.log, e.listener.draining = s.log, s.Draining()
		if s.Supervised() {
			e.listener.revival, e.listener.lull = revival, s.control.lull
		}
		if !s.cfg.WithoutSojourn {
			e.listener.readSojourns()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use listener %q (%s): %w", name, network, err)
	}
	return e, nil
}

// serveWith has an http.Server serve the listener.
func (e *endpoint) serveWith(h *httpServer) {
	e.server = h
	e.listener.prepare = h.prepare
}

func (e *endpoint) pause() <-chan struct{} {
	if e.packets != nil {
		return e.packets.gate.pause()
	}
	return e.listener.pause()
}

func (e *endpoint) resume() {
	if e.packets != nil {
		e.packets.gate.resume()
		return
	}
	e.listener.resume()
}

// holds describes the socket with a duplicate of its descriptor, which it gives,
// unless the socket is closed.
func (e *endpoint) holds() (l fdpass.Listener, ok bool, err error) {
	own, ok, err := e.duplicate()
	if err != nil || !ok {
		return l, false, err
	}
	if l, err = fdpass.Describe(e.name, own); err != nil {
		closeFD(own)
		return l, false, err
	}
	l.Kept = e.kept
	return l, true, nil
}

// duplicate gives a duplicate of the socket's descriptor, unless the socket is
// closed.
func (e *endpoint) duplicate() (fd int, ok bool, err error) {
	socket, ok := e.socketConn()
	if !ok || withFD(socket, func(of int) { fd, err = duplicate(of) }) != nil {
		return -1, false, nil
	}
	return fd, err == nil, err
}

func (e *endpoint) socketConn() (syscall.Conn, bool) {
	if e.packets != nil {
		c, ok := e.packets.PacketConn.(syscall.Conn)
		return c, ok
	}
	return e.listener.inner, true
}

// waiting reports whether something waits in the kernel's queue.
func (e *endpoint) waiting() bool {
	if e.packets != nil {
		return e.packets.waiting()
	}
	return e.listener.waiting()
}

// stop ends the intake for good. A datagram socket stays open for answers.
func (e *endpoint) stop() error {
	var err error
	if e.packets != nil {
		e.packets.gate.close()
	} else if err = e.listener.Close(); errors.Is(err, net.ErrClosed) {
		err = nil // the program, or its http.Server, closed it already
	}
	if e.socket != nil {
		err = errors.Join(err, e.socket.Close())
	}
	return err
}

// close closes what stop and the drain left.
func (e *endpoint) close() {
	_ = e.stop()
	if e.packets != nil {
		_ = e.packets.close()
	}
}

// counts are for packets the datagrams that were read.
func (e *endpoint) counts() counts {
	if e.packets != nil {
		return counts{accepted: e.packets.received.Load()}
	}
	return e.listener.conns.counts()
}

func (e *endpoint) stats() fdpass.ListenerStats {
	if e.packets != nil {
		return fdpass.ListenerStats{Name: e.name, Accepted: e.packets.received.Load()}
	}
	return e.listener.conns.snapshot(e.name)
}

// closeFD closes a descriptor that was borrowed for an endpoint.
func closeFD(fd int) { _ = syscall.Close(fd) }

// tend closes what need not stay and counts what is left.
func (e *endpoint) tend(s *sweep) {
	switch {
	case e.packets != nil:
		e.tendPackets(s)
	case e.server != nil:
		e.server.tend(e.listener, s)
	default:
		s.open += int(e.listener.conns.counts().active)
	}
}

// tendPackets waits for the program to close the socket, for as long as an idle
// connection would be kept: only the program knows when its last answer is out.
func (e *endpoint) tendPackets(s *sweep) {
	switch {
	case isClosed(e.packets.done):
	case !e.used || s.now.Sub(s.began) >= s.idle:
		_ = e.packets.close()
	default:
		s.open++
	}
}

// unfinished counts the open connections, without those that have come to their
// end and are being closed.
func (e *endpoint) unfinished() int {
	if e.packets != nil {
		return 0
	}
	n := 0
	for _, t := range e.listener.conns.open() {
		if !t.closing {
			n++
		}
	}
	return n
}

// cut closes every connection that is still open.
func (e *endpoint) cut() {
	if e.packets != nil {
		_ = e.packets.close()
		return
	}
	for _, t := range e.listener.conns.open() {
		_ = t.conn.Close()
	}
}
