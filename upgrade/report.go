package upgrade

import "time"

// A Verdict is how an upgrade ended.
type Verdict string

const (
	// Refused: admission did not let the upgrade start. Nothing happened.
	Refused Verdict = "refused"
	// Aborted: ended before the cut-over. The active generation was not touched.
	Aborted Verdict = "aborted"
	// RolledBack: ended after the cut-over. The previous generation accepts again.
	RolledBack Verdict = "rolled-back"
	// Committed: the new generation is active and the old one drains.
	Committed Verdict = "committed"
	// Admissible: of a dry run, which would not have been refused. Nothing
	// happened.
	Admissible Verdict = "admissible"
)

// A Kind is what a caller asked for.
type Kind string

const (
	// KindUpgrade replaces the active release by the requested one.
	KindUpgrade Kind = "upgrade"
	// KindRollback replaces the active release by the one before it.
	KindRollback Kind = "rollback"
	// KindStart is of a report of the first start of a supervisor's service, for
	// which nobody asks.
	KindStart Kind = "start"
)

// A Request asks for an upgrade.
type Request struct {
	// Program is what to run from now on. Nil means the program of the active
	// release, resolved anew: the ordinary deployment, where the file or the
	// symlink behind the same path has been replaced.
	Program *Program `json:"program,omitempty"`
	// Force cuts over although admission objects to the moment, or although
	// the active generation does not answer the pause. The report says so.
	Force bool `json:"force,omitempty"`
	// WaitDrain asks for the report only when the old generation, or the
	// candidate that failed, has ended, so that it can say whether connections
	// were cut.
	WaitDrain bool `json:"wait_drain,omitempty"`
	// IfGeneration, if not 0, has the request refused unless that generation is
	// the active one: somebody else was faster.
	IfGeneration int `json:"if_generation,omitempty"`
	// DryRun asks what admission says, and for nothing else: the verdict is
	// Refused or Admissible. No generation gets a number, and the report is not
	// among those that are kept.
	DryRun bool `json:"dry_run,omitempty"`
	// Timeout bounds the time until the verdict; when it has passed the
	// upgrade is aborted or rolled back. 0 means that only the Policy's limits
	// apply.
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	// Reason is the caller's own note, repeated in the report: a change
	// number, a name.
	Reason string `json:"reason,omitempty"`
}

// A Step is one line of an upgrade's progress.
type Step struct {
	// Request is the number of the upgrade, as in Report.
	Request uint64 `json:"request"`
	// Time is the wall clock; ElapsedSeconds counts from the request.
	Time           time.Time `json:"time"`
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	// Phase is the phase that begins.
	Phase Phase `json:"phase"`
	// Generation is the generation that the step is about; 0 if none.
	Generation int `json:"generation,omitempty"`
	// Text says in words what happened.
	Text string `json:"text"`
}

// A Report is the whole account of one upgrade.
type Report struct {
	// Request is the number of the upgrade: 1, 2, ... in this supervisor.
	Request uint64  `json:"request"`
	Kind    Kind    `json:"kind"`
	Verdict Verdict `json:"verdict"`
	// Reason says in words why the verdict is what it is.
	Reason string `json:"reason"`
	// From and To are the generations; To is 0 if none was started.
	From int `json:"from_generation"`
	To   int `json:"to_generation,omitempty"`
	// Active is the generation that was active when the verdict was given; 0 if
	// there was none, because it had crashed and was being restarted.
	Active int `json:"active_generation,omitempty"`
	// FromRelease and ToRelease are what they run.
	FromRelease *Release  `json:"from_release,omitempty"`
	ToRelease   *Release  `json:"to_release,omitempty"`
	Started     time.Time `json:"started"`
	// DurationSeconds is the time from the request to the verdict, also where
	// the report had to wait for a drain.
	DurationSeconds float64 `json:"duration_seconds"`
	// StartupSeconds is the part of it that the candidate took from its start
	// to its ready.
	StartupSeconds float64 `json:"startup_seconds"`
	// Phases are the phases in their order.
	Phases []PhaseTime `json:"phases"`
	// Output are, for a candidate that failed, the last lines on standard
	// error since it was started, where they can be had: where it is a regular
	// file. Others write to that file as well.
	Output []string `json:"output,omitempty"`
	// Forced repeats the request's Force; Note its Reason. Overruled is what
	// admission had to say against the moment.
	Forced    bool   `json:"forced,omitempty"`
	DryRun    bool   `json:"dry_run,omitempty"`
	Note      string `json:"note,omitempty"`
	Overruled string `json:"overruled,omitempty"`
	// Hooks are those that were run, in their order. One that was under way when
	// the supervisor was killed is not among them.
	Hooks []HookResult `json:"hooks,omitempty"`
	// CandidateAccepted is, for a candidate that failed, the number of
	// connections that it had accepted, as far as it said; CandidateOpen is how
	// many of them were open at the verdict. These alone may be lost: nobody
	// else can answer them.
	CandidateAccepted uint64 `json:"candidate_accepted,omitempty"`
	CandidateOpen     int64  `json:"candidate_open,omitempty"`
	// Queues is what the accept queues did from the request to the verdict.
	Queues []QueueAccount `json:"queues,omitempty"`
	// Drained tells that the end of the generation that lost its role was waited
	// for: of the old one, or of a candidate that failed. Cut is the number of
	// connections that were cut at its drain deadline, and
	// CutUnknown is set where some may have been but the generation could not
	// say how many.
	Drained    bool `json:"drained,omitempty"`
	Cut        int  `json:"connections_cut,omitempty"`
	CutUnknown bool `json:"connections_cut_unknown,omitempty"`
}

// QueueAccount is what one listener's accept queue did during an upgrade.
type QueueAccount struct {
	Listener string `json:"listener"`
	// Limit is the queue's; it holds one more.
	Limit    uint32 `json:"limit"`
	MaxDepth uint32 `json:"max_depth"`
	// MaxSojournSeconds is the longest that a connection was seen to wait; nil
	// if that could not be seen.
	MaxSojournSeconds *float64 `json:"max_sojourn_seconds,omitempty"`
	// Drops is by how much the kernel's counter moved: packets, not
	// connections. Nil where the kernel does not count: Unix sockets.
	Drops *uint64 `json:"drops,omitempty"`
	// Samples are the last ones before the verdict of an upgrade that was
	// aborted or rolled back.
	Samples []QueueSample `json:"samples,omitempty"`
}

// QueueSample is one look at an accept queue.
type QueueSample struct {
	// Seconds counts from the request.
	Seconds float64 `json:"seconds"`
	Depth   uint32  `json:"depth"`
	// OldestSeconds is how long the oldest connection had waited; nil if it was
	// not looked at.
	OldestSeconds *float64 `json:"oldest_seconds,omitempty"`
	// Drops counts from the request.
	Drops uint64 `json:"drops,omitempty"`
}

// PhaseTime is the time spent in one phase of an upgrade.
type PhaseTime struct {
	Phase   Phase   `json:"phase"`
	Seconds float64 `json:"seconds"`
}

// Status is a picture of the supervisor at one moment.
type Status struct {
	Service string    `json:"service"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// SupervisorStarted is when this supervisor took over from another one, by
	// reexec or after a crash; as Started if it did not.
	SupervisorStarted time.Time `json:"supervisor_started"`
	// Trouble is why a next supervisor could not take over from this one; "" if it
	// could. It is not known to a Supervisor itself.
	Trouble string `json:"trouble,omitempty"`
	// Phase is idle, or the phase of the running upgrade.
	Phase Phase `json:"phase"`
	// PhaseEnds is when the phase is over at the latest; nil if it has no end.
	PhaseEnds *time.Time `json:"phase_ends,omitempty"`
	// Request is the number of the running upgrade; 0 if none.
	Request uint64 `json:"request,omitempty"`
	// Stopping tells that the supervisor was told to stop.
	Stopping    bool               `json:"stopping,omitempty"`
	Generations []GenerationStatus `json:"generations"`
	Listeners   []ListenerStatus   `json:"listeners"`
	// Restarts counts how often a crashed active generation was started anew.
	Restarts uint64 `json:"restarts"`
	// Restart tells of the back-off in progress, if there is one.
	Restart *RestartStatus `json:"restart,omitempty"`
	// Release is what runs, or is to run; Previous is what rollback would start.
	Release  *Release `json:"release,omitempty"`
	Previous *Release `json:"previous_release,omitempty"`
	// RollbackTrouble is why Previous could not be started; "" if it could.
	RollbackTrouble string `json:"rollback_trouble,omitempty"`
	// Reports are the latest verdicts, newest last.
	Reports []Report `json:"reports"`
}

// RestartStatus tells why the active generation is down and when it is tried
// again.
type RestartStatus struct {
	Reason   string `json:"reason"`
	Failures int    `json:"failures"`
	// Next is zero once its release has been started again.
	Next time.Time `json:"next,omitzero"`
}

// GenerationStatus describes one generation that is alive.
type GenerationStatus struct {
	Generation int       `json:"generation"`
	Role       Role      `json:"role"`
	PID        int       `json:"pid,omitempty"`
	Release    Release   `json:"release"`
	Started    time.Time `json:"started"`
	// Ready is when it said ready; nil before.
	Ready *time.Time `json:"ready,omitempty"`
	// Library and Capabilities are what it said of itself.
	Library      string   `json:"library,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
	// Program is the process that serves, where PID only stands for it; 0 where
	// PID itself does.
	Program int `json:"program_pid,omitempty"`
	// Accepted and Active are sums over Listeners; nil where they are not known.
	Accepted  *uint64         `json:"accepted,omitempty"`
	Active    *int64          `json:"active,omitempty"`
	Listeners []ListenerStats `json:"listeners,omitempty"`
	// MemoryBytes is what all of its processes use; nil if it is not known.
	MemoryBytes *uint64 `json:"memory_bytes,omitempty"`
	// Group is the path of its control group; "" if it has none.
	Group string `json:"cgroup,omitempty"`
	// DrainDeadline is when a draining generation is ended.
	DrainDeadline *time.Time `json:"drain_deadline,omitempty"`
}

// ListenerStats are what a generation reported of one listener.
type ListenerStats struct {
	Name string `json:"name"`
	// Accepted is nil where only the open connections are known.
	Accepted      *uint64 `json:"accepted,omitempty"`
	Active        int64   `json:"active"`
	OldestSeconds float64 `json:"oldest_seconds,omitempty"`
}

// ListenerStatus describes one listening socket that the supervisor holds.
type ListenerStatus struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Address string `json:"address"`
	// Queue is its accept queue; nil where that is not looked at.
	Queue *QueueStatus `json:"queue,omitempty"`
}

// QueueStatus is the accept queue of a listener at one moment.
type QueueStatus struct {
	Depth uint32 `json:"depth"`
	// Limit is the queue's; it holds one more.
	Limit uint32 `json:"limit"`
	// OldestSeconds is how long the oldest connection has waited; nil if that
	// was not seen.
	OldestSeconds *float64 `json:"oldest_seconds,omitempty"`
	// Drops counts from the supervisor's start: packets, not connections. Nil
	// where the kernel does not count: Unix sockets.
	Drops *uint64 `json:"drops,omitempty"`
	// ArrivalsPerSecond are smoothed; nil until they are known.
	ArrivalsPerSecond *float64 `json:"arrivals_per_second,omitempty"`
	// HeadroomSeconds is how long the queue would take to fill if nobody
	// accepted; nil if nobody comes, or the arrivals are not known.
	HeadroomSeconds *float64 `json:"headroom_seconds,omitempty"`
}
