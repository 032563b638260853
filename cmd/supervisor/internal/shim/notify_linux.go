package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// maxNotice is more than a datagram of sd_notify(3) has.
	maxNotice = 64 << 10
	// maxAttached is how many descriptors may come with one (SCM_MAX_FD, unix(7)).
	maxAttached = 253
)

// listenForNotices makes the socket on which the program says how it is. It is
// the generation's own: nothing of it reaches the service manager, to which the
// service is one that the supervisor speaks for.
func (s *shim) listenForNotices(p *program) error {
	if s.cfg.Socket == "" {
		return nil
	}
	_ = os.Remove(s.cfg.Socket)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: s.cfg.Socket})
	if err != nil {
		return fmt.Errorf("cannot listen to the program: %w", err)
	}
	p.hold(func() error { return errors.Join(socket.Close(), os.Remove(s.cfg.Socket)) })
	if err := os.Chmod(s.cfg.Socket, 0o600); err != nil {
		return err
	}
	if err := withFD(socket, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	go s.readNotices(socket) // it ends when the socket is closed
	return nil
}

func (s *shim) readNotices(socket *net.UnixConn) {
	text, control := make([]byte, maxNotice), make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*maxAttached))
	for {
		n, oobn, _, _, err := socket.ReadMsgUnix(text, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("cannot read what the program says of itself", "error", err)
			continue
		}
		pid, fds := attached(control[:oobn])
		s.noticed(parseNotice(text[:n]), pid)
		for _, fd := range fds { // also that of a barrier, of which this is the end
			_ = syscall.Close(fd)
		}
	}
}

// attached returns who has sent a datagram, and the descriptors that came along.
func attached(control []byte) (pid int, fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, nil
	}
	for _, m := range messages {
		if ucred, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = int(ucred.Pid)
		}
		if more, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, more...)
		}
	}
	return pid, fds
}

// noticed takes what a process says of the program. Only those of the generation
// are believed.
func (s *shim) noticed(n notice, pid int) {
	if !s.isOurs(pid) {
		s.log.Warn("a process that is none of the generation's speaks for it", "pid", pid)
		return
	}
	if n.status != "" {
		s.log.Info("says", "status", n.status)
	}
	if n.store {
		s.log.Warn("the program wants descriptors to be stored; they are not: its listeners stay open without")
	}
	if n.mainPID != "" {
		s.log.Warn("the program names another main process; the one that was started counts", "pid", n.mainPID)
	}
	if n.limited {
		s.tellSelf(word{limited: true, limit: n.limit})
	}
	if n.fed {
		s.tellSelf(word{fed: true})
	}
	switch {
	case n.trigger:
		s.tellSelf(word{barks: "says by its watchdog that it failed"})
	case n.stopping:
		s.tellSelf(word{stopping: true})
	case n.ready:
		s.tellSelf(word{ready: true})
	}
}

// isOurs reports whether a process belongs to the generation: the program itself,
// or one of the process group that it was started in.
func (s *shim) isOurs(pid int) bool {
	group, err := unix.Getpgid(pid)
	return err == nil && (group == unix.Getpgrp() || pid == int(s.pid.Load()))
}

// withFD lends the descriptor of c.
func withFD(c syscall.Conn, use func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = use(int(fd)) }); err != nil {
		return err
	}
	return failed
}
