package upgrade

import "time"

// State is what a supervisor must know to go on where another one was: one that
// has executed another binary in its place, or one that was killed. It says
// nothing of descriptors but their numbers, which mean something only to a
// process that inherits them.
type State struct {
	Service string    `json:"service"`
	Started time.Time `json:"started"`
	// Program is what the supervisor was configured to run.
	Program Program `json:"program"`
	// Machine is the decider's.
	Machine MachineState `json:"machine"`
	// Timers are those that the machine waits for.
	Timers []TimerState `json:"timers,omitempty"`
	// Generations are the processes that have been started and not seen to end.
	Generations []ProcessState `json:"generations,omitempty"`
	// LastRequest is the number of the latest request.
	LastRequest uint64 `json:"last_request"`
	// Callers wait for a report.
	Callers []CallerState `json:"callers,omitempty"`
	// Reports are the latest verdicts, newest last.
	Reports  []Report `json:"reports,omitempty"`
	Restarts uint64   `json:"restarts"`
	// Kept are the descriptors of the files of releases, for the process that
	// inherits them.
	Kept []KeptState `json:"kept,omitempty"`
}

// MachineState is a Machine at rest, between two steps.
type MachineState struct {
	Phase      Phase             `json:"phase"`
	Deadline   TimerID           `json:"deadline,omitempty"`
	BakeStep   int               `json:"bake_step,omitempty"`
	Request    *RequestState     `json:"request,omitempty"`
	DryRun     *RequestState     `json:"dry_run,omitempty"`
	Active     *GenerationState  `json:"active,omitempty"`
	Candidate  *GenerationState  `json:"candidate,omitempty"`
	Paused     *GenerationState  `json:"paused,omitempty"`
	Draining   []GenerationState `json:"draining,omitempty"`
	Killed     []GenerationState `json:"killed,omitempty"`
	Restarting *RestartState     `json:"restarting,omitempty"`
	// Release is the committed one, Previous the one before.
	Release  *Release `json:"release,omitempty"`
	Previous *Release `json:"previous_release,omitempty"`
	Failures int      `json:"failures,omitempty"`
	Stable   TimerID  `json:"stable,omitempty"`
	// Generations is the highest number given, Serial the same of timers.
	Generations int     `json:"generations"`
	Serial      TimerID `json:"serial"`
	Stopping    bool    `json:"stopping,omitempty"`
	Failure     string  `json:"failure,omitempty"`
}

// GenerationState is what a machine knows of one generation.
type GenerationState struct {
	Number     int           `json:"generation"`
	Release    Release       `json:"release"`
	Ready      bool          `json:"ready,omitempty"`
	CanPause   bool          `json:"can_pause,omitempty"`
	Mute       bool          `json:"mute,omitempty"`
	Command    TimerID       `json:"command,omitempty"`
	Timer      TimerID       `json:"timer,omitempty"`
	Terminated bool          `json:"terminated,omitempty"`
	Drained    bool          `json:"drained,omitempty"`
	Cut        int           `json:"cut,omitempty"`
	CutUnknown bool          `json:"cut_unknown,omitempty"`
	Waiter     *RequestState `json:"waiter,omitempty"`
}

// RequestState is a request that has no verdict yet, or whose report waits for
// the end of a generation.
type RequestState struct {
	Request   uint64   `json:"request"`
	Kind      Kind     `json:"kind"`
	Program   *Program `json:"program,omitempty"`
	Force     bool     `json:"force,omitempty"`
	WaitDrain bool     `json:"wait_drain,omitempty"`
	// DryRun and IfGeneration are the request's own.
	DryRun       bool `json:"dry_run,omitempty"`
	IfGeneration int  `json:"if_generation,omitempty"`
	// Hook is the one that is awaited; Hooked: one has begun.
	Hook        Hook          `json:"hook,omitempty"`
	Hooked      bool          `json:"hooked,omitempty"`
	Timeout     time.Duration `json:"timeout_ns,omitempty"`
	Timer       TimerID       `json:"timer,omitempty"`
	Undo        uint64        `json:"undo,omitempty"`
	Reason      string        `json:"reason,omitempty"`
	Verdict     Verdict       `json:"verdict,omitempty"`
	From        int           `json:"from_generation,omitempty"`
	To          int           `json:"to_generation,omitempty"`
	FromRelease *Release      `json:"from_release,omitempty"`
	ToRelease   *Release      `json:"to_release,omitempty"`
	// Retired is the old generation, if it cannot pause and was told to drain, and
	// Drained how that ended, if it has.
	Retired int         `json:"retired_generation,omitempty"`
	Drained *DrainState `json:"drained,omitempty"`
}

// DrainState is how the drain of a generation ended.
type DrainState struct {
	Cut        int  `json:"cut,omitempty"`
	CutUnknown bool `json:"cut_unknown,omitempty"`
}

// RestartState is the back-off of a crashed active generation, or what is being
// started in its place.
type RestartState struct {
	Generation *GenerationState `json:"generation,omitempty"`
	Timer      TimerID          `json:"timer,omitempty"`
	Reason     string           `json:"reason,omitempty"`
}

// TimerState is a timer that has been set.
type TimerState struct {
	Timer TimerID `json:"timer"`
	// At is when it fires, on the clock of CLOCK_BOOTTIME.
	At time.Duration `json:"at_ns"`
}

// ProcessState is one process of a generation.
type ProcessState struct {
	Generation int     `json:"generation"`
	Release    Release `json:"release"`
	// PID is 0 before the start. StartTicks is when the process was started,
	// in clock ticks since the boot (field 22 of proc_pid_stat(5)): with the
	// pid, its identity.
	PID        int    `json:"pid,omitempty"`
	StartTicks uint64 `json:"start_ticks,omitempty"`
	// Program is the process that serves, where PID only stands for it.
	Program int `json:"program_pid,omitempty"`
	// Token is the secret by which the process proves who it is.
	Token         string          `json:"token,omitempty"`
	Joined        bool            `json:"joined,omitempty"`
	ProbeSocket   string          `json:"probe_socket,omitempty"`
	Library       string          `json:"library,omitempty"`
	Capabilities  []string        `json:"capabilities,omitempty"`
	Listeners     []ListenerStats `json:"listeners,omitempty"`
	Started       time.Time       `json:"started"`
	Ready         time.Time       `json:"ready,omitzero"`
	DrainDeadline time.Time       `json:"drain_deadline,omitzero"`
	// DrainUntil is DrainDeadline on the clock of CLOCK_BOOTTIME, which is not
	// set by anybody; 0 if it does not drain.
	DrainUntil time.Duration `json:"drain_until_ns,omitempty"`
	// Channel is the number of the channel's descriptor for the process that
	// inherits it; 0 if there is none.
	Channel int `json:"channel,omitempty"`
}

// CallerState is somebody who waits for the report of a request.
type CallerState struct {
	Request    uint64       `json:"request"`
	Kind       Kind         `json:"kind"`
	Note       string       `json:"note,omitempty"`
	Started    time.Time    `json:"started"`
	Phases     []PhaseTime  `json:"phases,omitempty"`
	Phase      Phase        `json:"phase,omitempty"`
	PhaseSince time.Time    `json:"phase_since,omitzero"`
	Overruled  string       `json:"overruled,omitempty"`
	Hooks      []HookResult `json:"hooks,omitempty"`
	Moment     *MomentState `json:"moment,omitempty"`
}

// MomentState is what a report will say of the moment of its verdict.
type MomentState struct {
	At       time.Time      `json:"at"`
	Stranger string         `json:"stranger,omitempty"`
	Output   []string       `json:"output,omitempty"`
	Accepted uint64         `json:"accepted,omitempty"`
	Open     int64          `json:"open,omitempty"`
	Queues   []QueueAccount `json:"queues,omitempty"`
}
