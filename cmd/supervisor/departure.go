package main

import (
	"context"
	"errors"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

// intentTimeout is how long the service manager may take to say what it means
// to do. The service goes on meanwhile.
const intentTimeout = 2 * time.Second

// depart has the service manager forget the listeners that it has in store,
// unless the service is to be started again: the store is for the next start, and
// whoever gets into an accept queue that is in store and in nobody's hands is
// reset when the service manager gives it up. Where that cannot be told, the
// store stays: those who would lose by it are fewer than those whom a restart
// without it refuses. With the store stay the files of Unix sockets, where clients
// wait for the next supervisor.
func (h *host) depart(ctx context.Context) {
	var names []string
	for _, l := range h.listeners.list() {
		if !l.Kept {
			names = append(names, systemd.StoreName(l.Name))
		}
	}
	if !h.notifier.On() || len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, intentTimeout)
	defer cancel()
	again, err := systemd.StartsAgain(ctx)
	if again || err != nil {
		h.log.Debug("leaves its listeners to the service manager for the next start", "again", again, "error", err)
		h.passOn()
		return
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, h.notifier.Unstore(name))
	}
	if err := errors.Join(append(errs, barrier(h.notifier))...); err != nil {
		h.log.Warn("cannot have the service manager forget the listeners", "error", err)
	}
}

// passOn leaves the files of Unix sockets to the next supervisor, and what it has
// to know of them: the service manager, which keeps the sockets, does not say
// which file is whose.
func (h *host) passOn() {
	if !h.listeners.hasFiles() {
		return
	}
	state, err := h.left(upgrade.State{Service: h.cfg.ServiceName()})
	if err == nil {
		err = handover.Save(h.dir.Stored(), state)
	}
	if err != nil {
		h.log.Warn("cannot leave the files of Unix sockets to the next start, before which they are missing", "error", err)
		return
	}
	h.dir.Passes = true
	h.listeners.keepFiles()
}
