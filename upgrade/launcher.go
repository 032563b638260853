package upgrade

import (
	"time"
)

// A Launcher starts generations.
type Launcher interface {
	// Launch starts generation n in the background and returns at once.
	// deliver may be called from any goroutine, also before Launch returns;
	// the last event is Exited, exactly once. again tells that it takes the place of
	// one that has ended: something has to run, so that r is started from what its
	// path leads to if it cannot be as it was. Otherwise it is not started then.
	Launch(n int, r Release, again bool, readyTimeout time.Duration, deliver func(Event)) Process
	// Adopt takes over a process that another supervisor has started, as
	// Launch does one that it starts.
	Adopt(s ProcessState, deliver func(Event)) Process
	// Join waits until nothing is left of the generations that have ended, their
	// grandchildren included, for a limited time.
	Join()
	// CloseListeners closes the supervisor's own copies of the listeners. It
	// is called once, when the supervisor stops and before the last generation
	// drains, which then alone holds them and can empty their accept queues.
	// No Launch follows.
	CloseListeners()
}

// A Process is one generation as its launcher knows it. Its methods do not
// block and may be called at any time from any goroutine, also after its end.
type Process interface {
	Pause(id uint64)
	Resume(id uint64)
	// Drain ends it. final tells that nobody else will accept from its listeners,
	// last of which of them that is so although it is not final.
	Drain(id uint64, deadline time.Duration, final bool, last []string)
	// Hold asks a draining process to keep its idle connections for now, or to
	// go on closing them. One that does not know how is not asked.
	Hold(hold bool)
	// Terminate sends SIGTERM to the process.
	Terminate()
	// Kill sends SIGKILL to the process and all of its group.
	Kill()
	// Snapshot is what is known of it now.
	Snapshot() Snapshot
	// Output are its last lines of output; nil where they cannot be had.
	Output() []string
	// Usage is what all its processes use. It takes as long as the system does
	// to tell.
	Usage() Usage
	// State is what another supervisor has to know of it, but for Channel and
	// what the supervisor itself notes.
	State() ProcessState
	// Rest brings what is said on its channel to rest, between two messages,
	// and returns a duplicate of the channel's descriptor, 0 if there is none.
	// goOn ends the rest, and closes the duplicate. It waits for the process to
	// read what was said, for a limited time.
	Rest() (channel int, goOn func())
}

// Usage is what the processes of a generation use.
type Usage struct {
	// Group is the path of their control group; "" if they have none.
	Group string
	// MemoryBytes is nil if it is not known.
	MemoryBytes *uint64
}

// Snapshot is what is known of a process at one moment.
type Snapshot struct {
	// PID is 0 before the start.
	PID int
	// Joined: it has said hello.
	Joined bool
	// ProbeSocket is the path of its private Unix socket; "" if it has none.
	ProbeSocket  string
	Library      string
	Capabilities []string
	// Program is the process that serves, where PID only stands for it.
	Program int
	// Reports: it sends statistics.
	Reports   bool
	Listeners []ListenerStats
	// Accepted and Active are sums over Listeners; nil where they are not known.
	Accepted *uint64
	Active   *int64
}
