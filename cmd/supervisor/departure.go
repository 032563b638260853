package main

import (
	"context"
	"errors"
	"time"

	"example.com/supervisor/systemd"
)

// intentTimeout is how long the service manager may take to say what it means
// to do. The service goes on meanwhile.
const intentTimeout = 2 * time.Second

// depart has the service manager forget the listeners that it has in store,
// unless the service is to be started again: the store is for the next start, and
// whoever gets into an accept queue that is in store and in nobody's hands is
// reset when the service manager gives it up. Where that cannot be told, the
// store stays: those who would lose by it are fewer than those whom a restart
// without it refuses.
func (h *host) depart(ctx context.Context) {
	var names []string
	for _, l := range h.listeners.all {
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
