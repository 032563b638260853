package orphan

import (
	"context"
	"log/slog"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the one to which orphans below it are given
// (PR_SET_CHILD_SUBREAPER, prctl(2)), from now on. PID 1 is that one anyway.
// Somebody must run a [Reaper] then. It outlasts an exec, and children do not
// inherit it.
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Reaper reaps children that were given to this process and never started by it.
type Reaper struct {
	// Known reports whether somebody else waits for a child: the generations.
	// It may be called from the goroutine of Run at any time. Children of os/exec
	// that are waited for at once need not be known.
	Known func(pid int) bool
	// Logger is told of what was reaped; nil means nobody.
	Logger *slog.Logger
}

// Run reaps until ctx is done.
func (r *Reaper) Run(ctx context.Context) { <-ctx.Done() }

// EnvName is the variable that marks the processes of a generation.
const EnvName = "SUPERVISOR_GENERATION"

// Marker returns what a generation is to have in its environment, NAME=VALUE, by
// which its processes are recognised. The token does not show in it.
func Marker(generation int, token string) string { return EnvName + "=" }

// Process is a process at one time: its start time tells it from a later one
// with the same number.
type Process struct {
	PID, Parent int
	Start       uint64 // in clock ticks since the boot, proc_pid_stat(5)
}

// Descendants returns the processes below pid, zombies included, parents before
// their children.
func Descendants(pid int) ([]Process, error) { return nil, nil }

// End kills all processes that have marker in their environment, and all below
// these, until none is left, whoever their parent is.
func End(ctx context.Context, marker string, log *slog.Logger) error { return nil }

// EndChildren kills all processes below this one, but for those that except
// names and what is below them, until none is left.
func EndChildren(ctx context.Context, except func(pid int) bool) error { return nil }
