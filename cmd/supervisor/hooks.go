package main

import (
	"context"
	"crypto/rand"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/hook"
	"example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
)

// hooks runs what the configuration has at the hooks. Of what leaves its process
// group nothing is left either: it is known by a mark.
func (h *host) hooks() *hook.Hooks {
	return &hook.Hooks{
		Commands: h.cfg.Hooks(),
		Env:      upgrade.CleanEnv(baseEnvironment(false)),
		Limit:    time.Duration(h.cfg.HookTimeout),
		Log:      h.log,
		Mark: func() (variable string, end func()) {
			mark := orphan.Marker(0, rand.Text()) // which is no generation's
			return mark, func() {
				if err := orphan.End(context.Background(), mark, h.log); err != nil {
					h.log.Error("cannot end all that a hook has started", "error", err)
				}
			}
		},
	}
}
