package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// removeAgain is how long a group that is empty and could not be removed is
	// left alone: the kernel may still be at the end of its last process.
	removeAgain = 5 * time.Millisecond
	// lookAgain bounds the wait for a change; a group that somebody else removes
	// does not change.
	lookAgain = time.Second
)

// A watch waits until a group has changed, or a context is done.
type watch struct {
	group  *Group
	events int // cgroup.events, which is polled for what changed since it was read
	wake   int // an eventfd that the context writes to
	stop   func() bool
	woken  chan struct{}
}

// watch begins to watch the group, which is there. The caller closes the watch.
func (g *Group) watch(ctx context.Context) (*watch, error) {
	events, err := unix.Openat(g.fd, "cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(events)
		return nil, err
	}
	w := &watch{group: g, events: events, wake: wake, woken: make(chan struct{})}
	w.stop = context.AfterFunc(ctx, func() { // close waits for it
		defer close(w.woken)
		_, _ = unix.Write(wake, []byte{1, 1, 1, 1, 1, 1, 1, 1})
	})
	return w, nil
}

// populated is as [Group.Populated], and where the next change counts from.
func (w *watch) populated() (bool, error) {
	var text [256]byte
	n, err := unix.Pread(w.events, text[:], 0)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot see whether %s is empty: %w", w.group.path, err)
	}
	return w.group.populated(text[:n])
}

// change returns when the file has changed since it was read, at the latest
// after a time, or when the context is done.
func (w *watch) change(atMost time.Duration) {
	fds := []unix.PollFd{{Fd: int32(w.wake), Events: unix.POLLIN}, {Fd: int32(w.events), Events: unix.POLLPRI}}
	for {
		_, err := unix.Poll(fds, int(atMost.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (w *watch) close() {
	if !w.stop() {
		<-w.woken
	}
	_ = unix.Close(w.wake)
	_ = unix.Close(w.events)
}
