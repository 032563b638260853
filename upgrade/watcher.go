package upgrade

import (
	"context"
)

// A Watcher looks at a generation on behalf of the machine. Every method is
// called in a goroutine of its own and returns soon after ctx is done, but for
// Begin and Account, which must not block.
type Watcher interface {
	// Begin begins the account of what is seen during a request.
	Begin(request uint64)
	// Check says whether the release itself can be used; an error cannot be
	// overruled.
	Check(ctx context.Context, a Admission) error
	// Admit says whether an upgrade may start now.
	Admit(ctx context.Context, a Admission) error
	// Ready probes a generation that has said ready until the probe passes; an
	// error is the reason why it will not. It is asked again, beside Bake, when
	// the time of the bake is over.
	Ready(ctx context.Context, t Target) error
	// Gate returns when the active generation may stop accepting, and says why
	// it may; an error is the reason why it must not.
	Gate(ctx context.Context, t Target) (why string, err error)
	// Bake returns only when ctx is done or when there is a reason to roll
	// back, which is the error.
	Bake(ctx context.Context, t Target) error
	// Pace watches over a drain while others accept, until ctx is done: it
	// calls hold(true) when clients should not be sent to the others for now,
	// and hold(false) when they may be again.
	Pace(ctx context.Context, t Target, hold func(bool))
	// Account ends the account of a request, which may be unknown, and returns
	// what was seen of the queues. failed asks for samples, to see what led to
	// the verdict.
	Account(request uint64, failed bool) []QueueAccount
}

// An Admission is an upgrade that wants to start.
type Admission struct {
	Request uint64
	Kind    Kind
	Release Release
	// Force: what is said against the moment will be overruled.
	Force bool
	// DryRun: it will not start.
	DryRun bool
	// Down: no generation is active.
	Down bool
}

// A Target is the generation to be looked at.
type Target struct {
	Generation, PID int
	// ProbeSocket is the path of its private Unix socket; "" if it has none.
	ProbeSocket string
	Dir         string
	Env         []string
	// Request is the upgrade that it belongs to; 0 if none. Kind and Force are
	// the request's.
	Request uint64
	Kind    Kind
	Force   bool
	// Active is the active generation; 0 if there is none, or if it is the
	// target itself.
	Active int
	// Reports: it says what it accepts, by statistics.
	Reports bool
}

// noWatcher sees nothing wrong.
type noWatcher struct{}

func (noWatcher) Begin(uint64)                                  {}
func (noWatcher) Check(context.Context, Admission) error        { return nil }
func (noWatcher) Admit(context.Context, Admission) error        { return nil }
func (noWatcher) Ready(context.Context, Target) error           { return nil }
func (noWatcher) Gate(context.Context, Target) (string, error)  { return "nothing is watched", nil }
func (noWatcher) Pace(context.Context, Target, func(hold bool)) {}
func (noWatcher) Account(uint64, bool) []QueueAccount           { return nil }

func (noWatcher) Bake(ctx context.Context, _ Target) error {
	<-ctx.Done()
	return nil
}
