package config

import (
	"time"

	"example.com/supervisor/upgrade"
)

// Hooks are the commands at the hooks that have one.
func (c Config) Hooks() map[upgrade.Hook][]string {
	all := map[upgrade.Hook][]string{}
	for h, words := range map[upgrade.Hook][]string{
		upgrade.HookBeforeStart: c.HookBeforeStart, upgrade.HookAfterReady: c.HookAfterReady, upgrade.HookBeforeCutOver: c.HookBeforeCutOver,
		upgrade.HookAfterCommit: c.HookAfterCommit, upgrade.HookOnAbort: c.HookOnAbort, upgrade.HookOnRollback: c.HookOnRollback,
	} {
		if len(words) > 0 {
			all[h] = words
		}
	}
	return all
}

// hookTimes are the limits of those that there are.
func (c Config) hookTimes() upgrade.HookTimes {
	limit := func(words []string) time.Duration {
		if len(words) == 0 {
			return 0
		}
		return time.Duration(c.HookTimeout)
	}
	return upgrade.HookTimes{
		BeforeStart: limit(c.HookBeforeStart), AfterReady: limit(c.HookAfterReady), BeforeCutOver: limit(c.HookBeforeCutOver),
		AfterCommit: limit(c.HookAfterCommit), OnAbort: limit(c.HookOnAbort), OnRollback: limit(c.HookOnRollback),
	}
}

// admissionTimeout leaves the check its time besides.
func (c Config) admissionTimeout() time.Duration {
	if len(c.Check) == 0 {
		return time.Duration(c.ReadyTimeout)
	}
	return time.Duration(c.ReadyTimeout + c.HookTimeout)
}
