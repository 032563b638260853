package main

import (
	"fmt"
	"sync"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// users are the generations that may accept from the listeners, and whether their
// protocol has it that accept(2) waits. O_NONBLOCK is one flag for all who hold a
// socket, so that not every wish can be met. Its methods may be called
// concurrently.
type users struct {
	mu    sync.Mutex
	waits map[int]bool
}

// add adds a generation. It reports what is to be done about the flag before that
// one is handed the listeners.
func (u *users) add(generation int, waits bool) blockingMode {
	u.mu.Lock()
	defer u.mu.Unlock()
	alone := len(u.waits) == 0 || len(u.waits) == 1 && u.has(generation)
	if u.waits == nil {
		u.waits = map[int]bool{}
	}
	u.waits[generation] = waits
	switch {
	case !u.allWait():
		return nonBlocking
	case alone:
		return blocking
	}
	// Those that run may have set the flag themselves and rely on it.
	return asItIs
}

// adopt adds generations that run already, with the flag as they have it.
func (u *users) adopt(all []upgrade.ProcessState) {
	for _, g := range all {
		p, err := protocol.Parse(g.Release.Protocol)
		u.add(g.Generation, err == nil && p.Blocking)
	}
}

func (u *users) has(generation int) bool {
	_, ok := u.waits[generation]
	return ok
}

func (u *users) remove(generation int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waits, generation)
}

// needNonBlocking reports whether there is a generation that must not wait in
// accept(2), or none at all.
func (u *users) needNonBlocking() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.allWait()
}

func (u *users) allWait() bool {
	for _, waits := range u.waits {
		if !waits {
			return false
		}
	}
	return len(u.waits) > 0
}

// blockingMode is what is done about O_NONBLOCK.
type blockingMode int

const (
	asItIs blockingMode = iota
	nonBlocking
	blocking
)

// lend sees to the listeners before they are handed to a generation.
func (h *listeners) lend(generation int, r upgrade.Release) error {
	p, err := protocol.Parse(r.Protocol)
	if err != nil {
		return err
	}
	mode := h.users.add(generation, p.Blocking)
	if err := h.audit(); err != nil {
		return err
	}
	if mode == nonBlocking && p.Blocking {
		h.log.Warn("the listeners do not block, for the sake of a generation that runs beside this one; a program that waits in accept(2) may fail",
			"generation", generation, "protocol", r.Protocol)
	}
	if mode != blocking {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	for _, l := range h.all {
		if err := unix.SetNonblock(l.FD, false); err != nil {
			return fmt.Errorf("listener %s cannot be made blocking: %w", l.Name, err)
		}
	}
	return nil
}
