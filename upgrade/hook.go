package upgrade

import (
	"context"
	"time"
)

// A Hook is a point of an upgrade at which an operator may have something done.
type Hook string

// The hooks. Those before the cut-over can stop it; the others follow a verdict
// and cannot change it.
const (
	HookBeforeStart   Hook = "before-start"    // admission has let it in
	HookAfterReady    Hook = "after-ready"     // the candidate is ready and its probe has passed
	HookBeforeCutOver Hook = "before-cut-over" // all that is missing is the gate
	HookAfterCommit   Hook = "after-commit"
	HookOnAbort       Hook = "on-abort" // also of what was refused after before-start had begun
	HookOnRollback    Hook = "on-rollback"
)

// HookTimes is how long each hook may take; 0 means that there is none.
type HookTimes struct {
	BeforeStart, AfterReady, BeforeCutOver time.Duration
	AfterCommit, OnAbort, OnRollback       time.Duration
}

// hookGrace is what a hook has beyond its time, so that whoever runs it can say
// what became of it.
const hookGrace = 2 * time.Second

func (t HookTimes) of(h Hook) time.Duration {
	switch h {
	case HookBeforeStart:
		return t.BeforeStart
	case HookAfterReady:
		return t.AfterReady
	case HookBeforeCutOver:
		return t.BeforeCutOver
	case HookAfterCommit:
		return t.AfterCommit
	case HookOnAbort:
		return t.OnAbort
	case HookOnRollback:
		return t.OnRollback
	}
	return 0
}

// Hooks does what is to be done at the hooks.
type Hooks interface {
	// Run does it and returns when nothing of it is left; soon after ctx is done.
	// It is called by one goroutine at a time.
	Run(ctx context.Context, f HookFacts) error
}

// HookFacts is what a hook is told. Releases are as others may see them.
type HookFacts struct {
	Hook    Hook   `json:"hook"`
	Service string `json:"service"`
	Request uint64 `json:"request"`
	Kind    Kind   `json:"kind"`
	// Note is the caller's own.
	Note string `json:"note,omitempty"`
	// From and To are the generations, as far as there are any; FromPID and ToPID
	// their processes, while they live.
	From        int      `json:"from_generation,omitempty"`
	To          int      `json:"to_generation,omitempty"`
	FromPID     int      `json:"from_pid,omitempty"`
	ToPID       int      `json:"to_pid,omitempty"`
	FromRelease *Release `json:"from_release,omitempty"`
	ToRelease   *Release `json:"to_release,omitempty"`
	// Verdict, Reason and Active are of the hooks that follow a verdict.
	Verdict Verdict `json:"verdict,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Active  int     `json:"active_generation,omitempty"`
}

// HookResult is how a hook went.
type HookResult struct {
	Hook    Hook    `json:"hook"`
	Seconds float64 `json:"seconds"`
	// Error is why it failed; "" if it did not.
	Error string `json:"error,omitempty"`
}

// noHooks has nothing to do.
type noHooks struct{}

func (noHooks) Run(context.Context, HookFacts) error { return nil }
