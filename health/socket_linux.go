package health

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrUnseen is the reason when the kernel does not show a queue to this
// process: the queue of a Unix listener that belongs to another network
// namespace, or to a kernel without unix_diag.
var ErrUnseen = errors.New("the kernel does not show its accept queue to this network namespace")

// A queueKind says by which way the kernel tells of an accept queue.
type queueKind int

const (
	tcpQueue queueKind = iota
	// mptcpQueue: depth and limit as for TCP, but the drops are counted by the
	// subflow that listens, not by the socket that the descriptor means.
	mptcpQueue
	unixQueue
)

// A socket is a listener of which somebody else has the descriptor.
type socket struct {
	fd    int // borrowed
	kind  queueKind
	inode uint32 // by which sock_diag(7) knows it
	netns uint64 // cookie of its network namespace; 0 before Linux 5.14
}

// newSocket looks at the kind of socket that fd, which it borrows, is.
func newSocket(fd int) (socket, error) {
	kind, err := kindOf(fd)
	if err == nil {
		err = hasQueue(fd, kind)
	}
	if err != nil {
		return socket{}, fmt.Errorf("cannot watch descriptor %d: %w", fd, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return socket{}, fmt.Errorf("cannot watch descriptor %d: %w", fd, os.NewSyscallError("fstat", err))
	}
	netns, err := netnsOf(fd)
	if err != nil {
		return socket{}, fmt.Errorf("cannot watch descriptor %d: %w", fd, err)
	}
	return socket{fd: fd, kind: kind, inode: uint32(stat.Ino), netns: netns}, nil
}

// kindOf returns by which way to look at a queue, and an error for a socket
// that has none.
func kindOf(fd int) (queueKind, error) {
	var option [3]int // socket(7)
	for i, name := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return 0, os.NewSyscallError("getsockopt", err)
		}
		option[i] = value
	}
	domain, typ, protocol := option[0], option[1], option[2]
	switch {
	case domain == unix.AF_UNIX && (typ == unix.SOCK_STREAM || typ == unix.SOCK_SEQPACKET):
		return unixQueue, nil
	case domain != unix.AF_INET && domain != unix.AF_INET6:
	case protocol == unix.IPPROTO_TCP:
		return tcpQueue, nil
	case protocol == unix.IPPROTO_MPTCP:
		return mptcpQueue, nil
	}
	return 0, fmt.Errorf("a socket of domain %d, type %d and protocol %d has no accept queue", domain, typ, protocol)
}

// hasQueue refuses sockets that are the end of a connection. One on which
// somebody called shutdown(2) is closed to TCP, and still listens to unix(7).
func hasQueue(fd int, kind queueKind) error {
	if kind == unixQueue {
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err == nil && listens == 0 {
			return errors.New("a Unix socket that does not listen has no accept queue")
		}
		return os.NewSyscallError("getsockopt", err)
	}
	var info [tcpInfoSize]byte
	_, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info[:])
	if state := info[tcpiState]; err == nil && state != tcpListen && state != tcpClose {
		return errors.New("a TCP connection has no accept queue")
	}
	return err
}

// netnsOf returns the cookie of a socket's network namespace; 0 if the kernel
// has none to give (before Linux 5.14).
func netnsOf(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return cookie, nil
}

// port returns the port that the socket is bound to now: listen(2) on a socket
// that was never bound chooses one anew.
func (s socket) port() (uint16, error) {
	address, err := unix.Getsockname(s.fd)
	if err != nil {
		return 0, fmt.Errorf("cannot tell the port of descriptor %d: %w", s.fd, os.NewSyscallError("getsockname", err))
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, fmt.Errorf("cannot tell the port of descriptor %d: it has none", s.fd)
}
