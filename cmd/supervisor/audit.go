package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"golang.org/x/sys/unix"
)

// audit checks that each listener is what it was and accepts, and repairs what
// a generation may have done to it.
func (h *listeners) audit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed { // their numbers may be those of other descriptors now
		return errClosed
	}
	for _, l := range h.held {
		if err := h.repair(l); err != nil {
			if now := err.Error(); now != l.state.complaint {
				l.state.complaint = now
				h.log.Error("a listener cannot be used", "listener", l.Name, "address", l.Address, "error", err)
			}
			return fmt.Errorf("listener %s at %s: %w", l.Name, l.Address, err)
		}
		l.state.complaint = ""
	}
	return nil
}

// watch audits the listeners at every interval, when it is nudged, and when one is
// shut down, and calls besides, until ended is closed or the listeners are. Whoever
// starts something asks again and hears of what cannot be repaired; here it is logged.
func (h *listeners) watch(every time.Duration, ended <-chan struct{}, besides func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	alarm, err := newAlarm(h.look)
	if err != nil {
		h.log.Warn("a listener that is shut down will be noticed late", "error", err)
	} else {
		defer alarm.close()
	}
	for {
		if alarm != nil {
			h.lookedAt(alarm.follow)
		}
		select {
		case <-ticker.C:
		case <-h.nudge:
		case <-ended:
			return
		}
		if err := h.audit(); errors.Is(err, errClosed) {
			return
		}
		besides()
	}
}

// lookedAt has f look at them while their descriptors are open.
func (h *listeners) lookedAt(f func([]*heldListener)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		f(h.held)
	}
}

// look asks for an audit soon. It does not block.
func (h *listeners) look() {
	select {
	case h.nudge <- struct{}{}:
	default: // asked for already
	}
}

func (h *listeners) repair(l *heldListener) error {
	if err := l.Verify(); errors.Is(err, fdpass.ErrCookie) {
		return err
	} else if err != nil {
		if err := h.listenAgain(l); err != nil {
			return err
		}
	}
	if err := isWhereItWas(l.Listener); err != nil {
		return err
	}
	if err := h.unblock(l); err != nil {
		return err
	}
	return h.seeToQueue(l)
}

// noteLimit remembers the limit of a queue, and says what to do if it is less
// than was asked for.
func (h *listeners) noteLimit(l *heldListener, asked int) {
	if !hasQueue(l.Network) {
		return
	}
	c, err := health.Inspect(l.FD)
	if err != nil {
		h.log.Warn("cannot tell the limit of an accept queue", "listener", l.Name, "error", err)
		return
	}
	l.state.limit = c.Limit
	if int64(c.Limit) < int64(asked) {
		h.log.Warn("an accept queue is shorter than asked for; raise net.core.somaxconn and start again",
			"listener", l.Name, "asked", asked, "limit", c.Limit, "try", fmt.Sprintf("sysctl -w net.core.somaxconn=%d", asked))
	}
}

// seeToQueue restores the limit of a queue that a generation lowered, by
// listen(2) as it did, and warns of TCP_DEFER_ACCEPT.
func (h *listeners) seeToQueue(l *heldListener) error {
	state := &l.state
	if state.limit == 0 {
		return nil
	}
	c, err := health.Inspect(l.FD)
	if err != nil { // it is what it was and listens, that much is known: no reason to refuse anything
		h.log.Warn("cannot tell the limit of an accept queue", "listener", l.Name, "error", err)
		return nil
	}
	if c.DeferAccept > 0 && !state.deferring {
		h.log.Warn("TCP_DEFER_ACCEPT is set: connections whose clients have sent nothing are not seen in the accept queue", "listener", l.Name)
	}
	state.deferring = c.DeferAccept > 0
	if c.Limit >= state.limit {
		return nil
	}
	if err := unix.Listen(l.FD, int(state.limit)); err != nil {
		return fmt.Errorf("cannot restore the limit of its accept queue: %w", err)
	}
	restored, err := health.Inspect(l.FD)
	if err != nil {
		return err
	}
	if restored.Limit < state.limit {
		h.log.Warn("an accept queue cannot be made as long as it was: net.core.somaxconn is lower now",
			"listener", l.Name, "was", state.limit, "is", restored.Limit, "try", fmt.Sprintf("sysctl -w net.core.somaxconn=%d", state.limit))
		state.limit = restored.Limit // or it would be said again at every audit
		return nil
	}
	h.log.Warn("a generation lowered the limit of an accept queue; it is restored", "listener", l.Name, "from", c.Limit, "to", state.limit)
	return nil
}

// listenAgain undoes shutdown(2) on a listener, which stays bound if its port
// was asked for (inet_csk_listen_stop and inet_put_port in net/ipv4). One that the
// kernel chose is given up, and listen(2) would choose another: it is asked for.
func (h *listeners) listenAgain(l *heldListener) error {
	if err := bindAgain(l); err != nil {
		return fmt.Errorf("%w (its port was the kernel's choice, and cannot be taken again: %w)", errShutDown, err)
	}
	backlog := l.socket.Backlog
	if backlog == 0 {
		backlog = math.MaxInt32 // the kernel lowers it to its own limit (listen(2))
	}
	if err := unix.Listen(l.FD, backlog); err != nil {
		return fmt.Errorf("%w (%w)", errShutDown, err)
	}
	if err := l.Verify(); err != nil {
		return fmt.Errorf("%w (%w)", errShutDown, err)
	}
	if err := isWhereItWas(l.Listener); err != nil {
		_ = unix.Shutdown(l.FD, unix.SHUT_RDWR) // rather than to listen where nobody asked for it
		return err
	}
	h.log.Error("a generation shut down a listener; it listens again, but connections that waited in its queue were reset",
		"listener", l.Name, "network", l.Network, "address", l.Address)
	return nil
}

// bindAgain takes the port of a TCP listener again if it has none. One that is bound
// is left as it is: bind(2) says EINVAL.
func bindAgain(l *heldListener) error {
	if l.at == nil || !strings.HasPrefix(l.Network, "tcp") {
		return nil
	}
	if err := unix.Bind(l.FD, l.at); !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// isWhereItWas checks that l has its address still, and no other. A Unix socket
// keeps all but its use: it seems to listen and refuses all who connect.
func isWhereItWas(l fdpass.Listener) error {
	now, err := fdpass.Describe(l.Name, l.FD)
	if err != nil {
		return fmt.Errorf("%w (%w)", errShutDown, err)
	}
	if now.Address != l.Address {
		return fmt.Errorf("%w (its port was the kernel's choice, and would be another now)", errShutDown)
	}
	if !strings.HasPrefix(l.Network, "unix") || l.Network == "unixgram" {
		return nil
	}
	poll := []unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err == nil && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0 {
		return fmt.Errorf("%w (a Unix socket cannot be made to listen again)", errShutDown)
	}
	return nil
}

// unblock makes a listener non-blocking that was made blocking: O_NONBLOCK is
// shared by all who hold it (open(2)).
func (h *listeners) unblock(l *heldListener) error {
	flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 || !h.users.needNonBlocking(l.spec) {
		return nil // Verify has seen that it is there
	}
	h.log.Warn("a generation made a listener blocking; it is made non-blocking again", "listener", l.Name)
	if err := unix.SetNonblock(l.FD, true); err != nil {
		return fmt.Errorf("cannot be made non-blocking: %w", err)
	}
	return nil
}
