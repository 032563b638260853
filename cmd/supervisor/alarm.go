package main

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// An alarm rings as soon as somebody calls shutdown(2) on a TCP listener, which
// refuses clients until it listens again. Those who connect do not wake it: it
// waits for EPOLLHUP only (epoll_ctl(2)), and the kernel wakes nobody for events
// that nobody waits for (ep_poll_callback in fs/eventpoll.c). Unix sockets do not
// tell, and could not be mended.
type alarm struct {
	epoll *os.File
	raw   syscall.RawConn
	done  chan struct{} // closed when nothing rings any more
}

// newAlarm returns an alarm that calls ring, which must not block, from a goroutine
// of its own until close.
func newAlarm(ring func()) (*alarm, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime waits for it
		_ = unix.Close(fd)
		return nil, err
	}
	a := &alarm{epoll: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{})}
	if a.raw, err = a.epoll.SyscallConn(); err != nil {
		_ = a.epoll.Close()
		return nil, err
	}
	go a.run(ring) // joined by close
	return a, nil
}

func (a *alarm) run(ring func()) {
	defer close(a.done)
	var events [16]unix.EpollEvent
	for {
		err := a.raw.Read(func(fd uintptr) bool {
			n, err := unix.EpollWait(int(fd), events[:], 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err != nil { // closed
			return
		}
		ring()
	}
}

// follow has the alarm ring for these too. A descriptor that is followed already, or
// cannot be, is left as it is: the listeners are looked at besides.
func (a *alarm) follow(all []*heldListener) {
	for _, l := range all {
		if strings.HasPrefix(l.Network, "tcp") {
			_ = a.raw.Control(func(fd uintptr) {
				_ = unix.EpollCtl(int(fd), unix.EPOLL_CTL_ADD, l.FD, &unix.EpollEvent{Events: unix.EPOLLET, Fd: int32(l.FD)}) // once for each time
			})
		}
	}
}

func (a *alarm) close() {
	_ = a.epoll.Close()
	<-a.done
}
