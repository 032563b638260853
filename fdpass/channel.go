package fdpass

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// A Conn is one end of a channel. Send may be called concurrently with Receive
// and with itself, Close with everything; calls of Receive are serialised too.
type Conn struct {
	sock *net.UnixConn // serialises its writes itself

	receiving sync.Mutex // guards the two buffers
	packet    []byte
	control   []byte
}

// Pair makes a channel. The parent's end is a Conn; the child's is a file for
// the ExtraFiles of an os/exec.Cmd (its number in the child, which is 3 plus its
// index, goes into the variable [EnvFD]). The child's end is close-on-exec and
// blocking; the caller closes it once the child has started.
func Pair() (parent *Conn, child *os.File, err error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a channel: %w", err)
	}
	parent, err = NewConn(ours)
	if err != nil {
		closeFDs([]int{ours, theirs})
		return nil, nil, err
	}
	return parent, os.NewFile(uintptr(theirs), "channel"), nil
}

// NewConn makes a Conn of a connected SOCK_SEQPACKET Unix socket. It takes fd;
// if it fails, fd stays open and with the caller.
func NewConn(fd int) (*Conn, error) {
	if err := checkChannel(fd); err != nil {
		return nil, fmt.Errorf("cannot use descriptor %d as a channel: %w", fd, err)
	}
	sock, err := openSocket(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot use descriptor %d as a channel: %w", fd, err)
	}
	return connOf(sock), nil
}

func connOf(sock *net.UnixConn) *Conn {
	return &Conn{
		sock:    sock,
		packet:  make([]byte, MaxPacket),
		control: make([]byte, controlSize()),
	}
}

// FromEnv finds the channel that a supervisor gave to this process: it reads
// and unsets [EnvFD] and makes the descriptor close-on-exec, so that programs
// which this one starts inherit neither. The error is [ErrNoSupervisor] if the
// variable is absent. A descriptor that is no channel is left alone.
func FromEnv() (*Conn, error) {
	value, ok := os.LookupEnv(EnvFD)
	if !ok {
		return nil, ErrNoSupervisor
	}
	if err := os.Unsetenv(EnvFD); err != nil {
		return nil, fmt.Errorf("cannot unset %s: %w", EnvFD, err)
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("cannot join the supervisor: %s=%q is not the number of a descriptor above 2", EnvFD, value)
	}
	c, err := NewConn(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot join the supervisor: %s=%d, which may have been "+
			"inherited from another program: %w", EnvFD, fd, err)
	}
	return c, nil
}

// A carrier is a message whose packet carries descriptors.
type carrier interface{ descriptors() int }

func (m Welcome) descriptors() int {
	if m.Probe {
		return 1
	}
	return 0
}

func (m Listeners) descriptors() int { return len(m.Listeners) }

func descriptors(m Message) int {
	if c, ok := m.(carrier); ok {
		return c.descriptors()
	}
	return 0
}

// Send sends a message and the descriptors that belong to it: those of the
// listeners of a [Listeners], the probe of a [Welcome] that has one, none
// otherwise. It borrows them. A message that Receive would refuse is not sent.
// It waits while the peer does not read (see SetWriteDeadline); if the peer is
// gone the error is syscall.EPIPE.
func (c *Conn) Send(m Message, fds ...int) error {
	data, err := encode(m)
	if err != nil {
		return fmt.Errorf("cannot send %s: %w", m.kind(), err)
	}
	if want := descriptors(m); len(fds) != want {
		return fmt.Errorf("cannot send %s: it needs %d descriptors, not %d", m.kind(), want, len(fds))
	}
	if err := c.writePacket(data, fds); err != nil {
		return fmt.Errorf("cannot send %s: %w", m.kind(), err)
	}
	return nil
}

// Receive waits for the next message and gives the descriptors that came with
// it, close-on-exec, as many as the message calls for. Messages are values, not
// pointers. The error is io.EOF once the peer is gone and everything it sent
// has been read; a [*MessageError] for a packet that cannot be used, after
// which the channel still can (a peer that keeps to the protocol is told so
// with an [Error] message); net.ErrClosed after Close; os.ErrDeadlineExceeded
// after the read deadline.
func (c *Conn) Receive() (Message, []int, error) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	p, err := c.readPacket()
	if err != nil {
		closeFDs(p.fds)
		return nil, nil, err
	}
	m, err := p.message()
	if err != nil {
		closeFDs(p.fds)
		return nil, nil, err
	}
	return m, p.fds, nil
}

// A packet is what one read gave.
type packet struct {
	data []byte
	fds  []int
	// cut: it was longer than MaxPacket; lost: descriptors are missing.
	cut, lost bool
}

// message judges the packet after everything that came with it is known.
func (p packet) message() (Message, error) {
	if p.cut {
		return nil, &MessageError{Err: fmt.Errorf("the packet is longer than %d bytes", MaxPacket)}
	}
	if p.lost {
		kind, err := kindOf(p.data)
		if err != nil {
			kind = ""
		}
		return nil, &MessageError{Type: kind, Err: descriptorsLost(len(p.fds))}
	}
	m, err := decode(p.data)
	if err != nil {
		return nil, err
	}
	if want := descriptors(m); len(p.fds) != want {
		return nil, &MessageError{Type: m.kind(),
			Err: fmt.Errorf("it came with %d descriptors instead of %d", len(p.fds), want)}
	}
	return m, nil
}

// SetReadDeadline bounds the present and every later Receive; the zero time
// means no bound.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.sock.SetReadDeadline(t) }

// SetWriteDeadline bounds the present and every later Send; the zero time means
// no bound.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.sock.SetWriteDeadline(t) }

// Peer reports the process and user at the other end, as the kernel noted them
// when the socket was connected (SO_PEERCRED, unix(7)). For a [Pair] that is
// the process that made it, at both ends: a child does not show up there.
func (c *Conn) Peer() (pid, uid int, err error) {
	pid, uid, err = c.credentials()
	if err != nil {
		return 0, 0, fmt.Errorf("cannot tell the peer of the channel: %w", err)
	}
	return pid, uid, nil
}

// Duplicate gives a close-on-exec duplicate of the channel's descriptor, with
// which the channel can be handed on to another program: [NewConn] takes it
// there. The Conn stays usable, but only one of the two should receive.
func (c *Conn) Duplicate() (int, error) {
	fd, err := c.duplicate()
	if err != nil {
		return -1, fmt.Errorf("cannot duplicate the channel: %w", err)
	}
	return fd, nil
}

// HungUp reports whether the peer has closed its end, or this one is closed. What
// the peer sent before may still wait to be received.
func (c *Conn) HungUp() bool { return c.hungUp() }

// Close closes this end and interrupts Send and Receive. What was sent before
// still reaches the peer. A second Close does nothing.
func (c *Conn) Close() error {
	if err := c.sock.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cannot close the channel: %w", err)
	}
	return nil
}
