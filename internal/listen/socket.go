package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrInUse is what errors.Is finds in the error of Open when another socket
// has the address.
var ErrInUse = errors.New("in use by a live process")

// A Socket is an open socket and what it was opened from. Its methods may be
// called concurrently; the fields do not change until Close.
type Socket struct {
	// Spec is what was asked for.
	Spec
	// FD is the descriptor: non-blocking, close-on-exec and in no epoll set of
	// this process. The Socket owns it; borrow it until Close.
	FD int
	// Addr is the address as bound: for port 0 with the port that was chosen. Of
	// an adopted socket it is empty.
	Addr string

	file FileID // of the path; zero when there is none
	once sync.Once
	err  error // of Close
}

// Open opens the socket that spec describes; a stream also listens. ctx bounds
// the resolving of a host name and the wait for other openers of the same
// path. The error names the listener, the address, the cause and what to try.
//
// A file left behind at a Unix path by a process that is gone is replaced.
// Everything else at the path is an error and left alone.
func Open(ctx context.Context, spec Spec) (*Socket, error) {
	err := spec.Validate()
	var s *Socket
	if err == nil && spec.Given() {
		err = errors.New("the service manager has to pass it, and nobody here asks for it")
	} else if err == nil && spec.isPath() {
		s, err = openPath(ctx, spec)
	} else if err == nil {
		s, err = bind(ctx, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open listener %q at %s: %w", spec.Name, spec.URL(), explain(err, spec))
	}
	return s, nil
}

// Adopt makes a Socket of a descriptor that was opened elsewhere, which it
// takes; spec is what it was opened from, or as much of it as is known. file is
// what [Socket.File] told where it was opened, so that Close removes it; the
// zero value leaves any file alone, because it is somebody else's. If it fails,
// fd stays with the caller.
func Adopt(spec Spec, fd int, file FileID) (*Socket, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot adopt listener %q: %w", spec.Name, err)
	}
	return &Socket{Spec: spec, FD: fd, file: file}, nil
}

// File identifies the socket's file; zero if it has none that Close removes.
func (s *Socket) File() FileID { return s.file }

// OpenAll opens all sockets in order or, on an error, none.
func OpenAll(ctx context.Context, specs []Spec) ([]*Socket, error) {
	if err := checkDistinct(specs); err != nil {
		return nil, err
	}
	sockets := make([]*Socket, 0, len(specs))
	for _, spec := range specs {
		s, err := Open(ctx, spec)
		if err != nil {
			for _, open := range sockets {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// Close closes the descriptor and removes the socket's file if it is still the
// one that Open made. Other holders of the socket keep it, without its file.
// Further calls return the same error.
func (s *Socket) Close() error {
	s.once.Do(func() { s.close(s.file != (FileID{})) })
	return s.err
}

// Leave is Close for a socket that others go on with: its file stays, without
// which nobody could connect any more.
func (s *Socket) Leave() error {
	s.once.Do(func() { s.close(false) })
	return s.err
}

func (s *Socket) close(remove bool) {
	if remove {
		s.err = s.removeFile()
	}
	// Only now: while the socket is open its inode number is not reused.
	s.err = errors.Join(s.err, unix.Close(s.FD))
	if s.err != nil {
		s.err = fmt.Errorf("cannot close listener %q cleanly: %w", s.Name, s.err)
	}
}

// bind makes the socket with package net, which knows host names, address
// families and their options, and takes a raw descriptor out of it.
func bind(ctx context.Context, spec Spec) (*Socket, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return restrictMode(fd, spec.Mode) })
	}}
	// The counters and the cookie of an MPTCP listener are not those of the
	// socket that the kernel queues connections on.
	config.SetMultipathTCP(false)
	if spec.isStream() {
		l, err := config.Listen(ctx, spec.Network, spec.Address)
		if err != nil {
			return nil, err
		}
		defer closeListener(l)
		return take(spec, l, l.Addr())
	}
	c, err := config.ListenPacket(ctx, spec.Network, spec.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return take(spec, c, c.LocalAddr())
}

// closeListener closes Go's copy of the descriptor; the socket's file stays.
func closeListener(l net.Listener) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	l.Close()
}

// take duplicates the descriptor of conn and makes a Socket that owns it.
func take(spec Spec, conn any, addr net.Addr) (*Socket, error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{Spec: spec, FD: -1, Addr: addr.String()}
	err = control(raw, func(fd int) error {
		s.FD, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot duplicate the descriptor: %w", err)
	}
	if err := s.prepare(); err != nil {
		unix.Close(s.FD)
		return nil, err
	}
	return s, nil
}

// prepare sets the backlog and makes sure that the descriptor does not block:
// accept(2) on one that does keeps its thread until the next client comes.
func (s *Socket) prepare() error {
	if s.isStream() {
		if err := listenBacklog(s.FD, s.Backlog); err != nil {
			return fmt.Errorf("cannot set the backlog: %w", err)
		}
	}
	if err := unix.SetNonblock(s.FD, true); err != nil {
		return fmt.Errorf("cannot make the descriptor non-blocking: %w", err)
	}
	return nil
}

// listenBacklog calls listen(2). A listening socket takes the new backlog at
// once, for every holder, and the kernel lowers it to net.core.somaxconn as it
// is now (listen(2)), while package net uses the value of its first call.
func listenBacklog(fd, backlog int) error {
	if backlog == 0 {
		backlog = maxBacklog
	}
	return unix.Listen(fd, backlog)
}

// control runs f on the descriptor of c and returns its error.
func control(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// explain adds to an error of the kernel what it means here and what to try.
// Package net's wrapping is taken off: Open names operation and address.
func explain(err error, spec Spec) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	switch {
	case errors.Is(err, ErrInUse):
		return fmt.Errorf("%w; %s", err, findHolder(spec))
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w (%w); %s", ErrInUse, err, findHolder(spec))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w; this machine has no such address, see `ip address`", err)
	case errors.Is(err, unix.EACCES) && !spec.isUnix():
		return fmt.Errorf("%w; ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE or an inherited socket", err)
	case errors.Is(err, unix.ENOENT) && spec.isPath():
		return fmt.Errorf("%w; create the directory first", err)
	}
	return err
}

// findHolder says how to find the process that has the address.
func findHolder(spec Spec) string {
	if spec.isUnix() {
		return fmt.Sprintf("`ss -xap src %s` shows which", spec.Address)
	}
	_, port, _ := net.SplitHostPort(spec.Address)
	flags := "-ltnp"
	if strings.HasPrefix(spec.Network, "udp") {
		flags = "-lunp"
	}
	return fmt.Sprintf("`ss %s 'sport = :%s'` shows which", flags, port)
}
