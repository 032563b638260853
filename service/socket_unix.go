//go:build unix

package service

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// withFD runs f on the descriptor of c without taking it out of its mode, as
// (*os.File).Fd would.
func withFD(c syscall.Conn, f func(fd int)) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// readable reports whether a read, or an accept, would give something now: data,
// an end or an error of a connection, a connection of a listener (poll(2)).
func readable(c syscall.Conn) bool {
	ready := false
	_ = withFD(c, func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(p, 0)
			if !errors.Is(err, unix.EINTR) {
				ready = err == nil && n > 0
				return
			}
		}
	})
	return ready
}

// duplicate gives a close-on-exec copy of fd, which it borrows.
func duplicate(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
}
