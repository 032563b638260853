package health

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Condition is the state of a listener that all who hold it share, so that
// each of them can spoil it for the others.
type Condition struct {
	// Listening is false after somebody called shutdown(2): clients are
	// refused. listen(2) mends it for TCP (on another port if the socket was
	// never bound to one), and nothing does for a Unix socket.
	Listening bool
	// Blocking: somebody cleared O_NONBLOCK. An accept in another process may
	// then hang.
	Blocking bool
	// Limit is what listen(2) got; 0 if not Listening.
	Limit uint32
	// DeferAccept is TCP_DEFER_ACCEPT (tcp(7)), 0 if it is off: a connection
	// that its client has not sent data on waits unseen, outside the queue.
	DeferAccept time.Duration
	// ReusePort is SO_REUSEPORT: other sockets may have queues at the same
	// address.
	ReusePort bool
}

// Inspect returns the condition of the listener fd, which it borrows. For a
// Unix listener whose queue cannot be seen the error is ErrUnseen, and all but
// Limit is right.
func Inspect(fd int) (Condition, error) {
	sock, err := newSocket(fd)
	if err != nil {
		return Condition{}, err
	}
	c, err := sock.inspect()
	if err != nil {
		return c, fmt.Errorf("cannot inspect the listener with descriptor %d: %w", fd, err)
	}
	return c, nil
}

func (s *socket) inspect() (Condition, error) {
	var c Condition
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	if err != nil {
		return c, os.NewSyscallError("fcntl", err)
	}
	c.Blocking = flags&unix.O_NONBLOCK == 0
	if c.ReusePort, err = s.flag(unix.SO_REUSEPORT); err != nil {
		return c, err
	}
	var sample Sample
	if s.kind == unixQueue {
		err = inspectUnix(s, &sample)
	} else if err = sampleTCP(s.fd, &sample); err == nil {
		c.DeferAccept, err = s.deferAccept()
	}
	c.Listening, c.Limit = sample.Listening, sample.Limit
	return c, err
}

// inspectUnix falls back to what the descriptor itself tells.
func inspectUnix(s *socket, into *Sample) error {
	d, err := dialDiag()
	if err == nil {
		defer d.Close()
		err = d.sampleUnix(s, into)
	}
	if err != nil {
		into.Listening, _ = s.flag(unix.SO_ACCEPTCONN)
	}
	return err
}

func (s *socket) flag(name int) (bool, error) {
	value, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, name)
	return value != 0, os.NewSyscallError("getsockopt", err)
}

func (s *socket) deferAccept() (time.Duration, error) {
	seconds, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)
	return time.Duration(seconds) * time.Second, os.NewSyscallError("getsockopt", err)
}
