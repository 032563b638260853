package upgrade

import "time"

// An Event is something that happened: the only input of the Machine.
type Event interface{ isEvent() }

// An Action is something to be done: the only output of the Machine.
type Action interface{ isAction() }

// A TimerID identifies one setting of a timer. It is never reused, so a timer
// that fires late is told apart from its successor.
type TimerID uint64

// Events from the supervisor's own life and from its callers.
type (
	// Boot starts the first generation. No generation gets a number up to After.
	// Previous is what a rollback goes to; nil if there is nothing.
	Boot struct {
		Release  Release
		Previous *Release
		After    int
	}
	// Requested is a caller's request. Request numbers are never reused.
	Requested struct {
		Request          uint64
		Kind             Kind
		Program          *Program
		Force, WaitDrain bool
		DryRun           bool
		IfGeneration     int
		Timeout          time.Duration
	}
	// StopRequested ends the supervisor; Now does so without draining.
	StopRequested struct{ Now bool }
	// Recovered follows the restoring of a machine whose supervisor was killed:
	// who is alive. Every other generation of the state has ended.
	Recovered struct{ Survivors []Survivor }
	// Admitted and NotAdmitted answer Admit.
	Admitted struct {
		Request uint64
		Release Release
		// Policy holds from now on, but if the upgrade is not committed until its
		// verdict; nil: as it is.
		Policy *Policy
	}
	NotAdmitted struct {
		Request uint64
		Reason  string
	}
	// HookPassed and HookFailed answer RunHook of a hook before the cut-over.
	HookPassed struct {
		Request uint64
		Hook    Hook
	}
	HookFailed struct {
		Request uint64
		Hook    Hook
		Reason  string
	}
	// TimerFired reports a timer that was set and not stopped.
	TimerFired struct{ Timer TimerID }
)

// Events about one generation: what it said, and what was seen of it.
type (
	// SaidReady: it accepts. CanPause tells whether it understands pause.
	SaidReady struct {
		Generation int
		CanPause   bool
	}
	SaidFailed struct {
		Generation int
		Reason     string
	}
	SaidPaused struct {
		Generation int
		ID         uint64
	}
	SaidResumed struct {
		Generation int
		ID         uint64
	}
	SaidDrained struct {
		Generation int
		ID         uint64
		Cut        int
		CutUnknown bool
	}
	// ChannelLost: it lives but can no longer be spoken to. Reason says what
	// it did: "closed its channel".
	ChannelLost struct {
		Generation int
		Reason     string
	}
	// Starting: its process is about to be started. Started: it runs. The machine
	// has no use for either.
	Starting struct{ Generation int }
	Started  struct{ Generation int }
	// Rejoined: it can be spoken to again, after its supervisor was killed or its
	// channel was lost.
	Rejoined struct{ Survivor }
	// Exited: its process has ended, or could not be started. Clean is exit
	// status 0, Killed that it ended by a signal; Reason says what happened to it:
	// "exited with status 3". Open is how many connections it had at the last look
	// from outside, if that was a moment ago.
	Exited struct {
		Generation    int
		Clean, Killed bool
		Reason        string
		Open          int
		OpenKnown     bool
	}
	// ProbePassed and ProbeFailed answer ProbeReady and ConfirmBake.
	ProbePassed struct{ Generation int }
	ProbeFailed struct {
		Generation int
		Reason     string
	}
	// GateOpened and GateShut answer OpenGate.
	GateOpened struct {
		Generation int
		Reason     string
	}
	GateShut struct {
		Generation int
		Reason     string
	}
	// Tripped answers WatchBake when something is wrong.
	Tripped struct {
		Generation int
		Reason     string
	}
)

// A Survivor is a generation that outlived its supervisor.
type Survivor struct {
	Generation int
	// Mute: it cannot be spoken to, or not yet.
	Mute bool
	// Ready, CanPause and Draining are what it said; for a mute one, nothing.
	Ready, CanPause, Draining bool
}

// Actions on the observers.
type (
	// Admit asks whether an upgrade may start now. Program is to be resolved;
	// for a rollback, Release is what to run as it was.
	Admit struct {
		Request uint64
		Kind    Kind
		Program Program
		Release *Release
		Force   bool
		DryRun  bool
	}
	// RunHook has a hook done. One that follows a verdict comes before the Reply,
	// or the Decide, with that verdict.
	RunHook struct {
		Request                uint64
		Hook                   Hook
		Kind                   Kind
		From, To, Active       int
		FromRelease, ToRelease *Release
		Verdict                Verdict
		Reason                 string
	}
	ProbeReady struct{ Generation int }
	OpenGate   struct{ Generation int }
	WatchBake  struct{ Generation int }
	// ConfirmBake asks for one more look when the time of the bake is over; the
	// watch goes on.
	ConfirmBake struct{ Generation int }
	// Unwatch ends whatever observation of the generation is under way.
	Unwatch struct{ Generation int }
)

// Actions on generations.
type (
	Launch struct {
		Generation int
		Release    Release
	}
	Pause struct {
		Generation int
		ID         uint64
	}
	Resume struct {
		Generation int
		ID         uint64
	}
	// Drain: Final tells that no other generation will accept from the
	// listeners any more, Again that the generation may have been told before and
	// does not get more time by this.
	Drain struct {
		Generation int
		ID         uint64
		Deadline   time.Duration
		Final      bool
		Again      bool
	}
	// Terminate sends SIGTERM to the process, Kill SIGKILL to all of its group.
	Terminate struct{ Generation int }
	Kill      struct{ Generation int }
)

// Actions on the supervisor and its callers.
type (
	// SetTimer asks for a TimerFired. Jitter allows the time to be spread.
	SetTimer struct {
		Timer  TimerID
		After  time.Duration
		Jitter bool
	}
	StopTimer struct{ Timer TimerID }
	// Tell reports progress; Request is 0 where no caller waits for it.
	// Trouble marks what should not have happened.
	Tell struct {
		Request    uint64
		Phase      Phase
		Generation int
		Text       string
		Trouble    bool
	}
	// Reply answers a Requested: exactly one for each.
	Reply struct {
		Request  uint64
		Kind     Kind
		Verdict  Verdict
		Reason   string
		From, To int
		// Active is the generation that accepts now; 0 if there is none.
		Active                 int
		FromRelease, ToRelease *Release
		Forced, DryRun         bool
		Drained                bool
		Cut                    int
		CutUnknown             bool
	}
	// Decide tells the verdict of a request whose Reply waits for a drain: what
	// the report says of the moment of the verdict is of this one.
	Decide struct {
		Request uint64
		Verdict Verdict
		To      int
	}
	// CloseListeners closes the supervisor's own copies of the listeners.
	CloseListeners struct{}
	// Finish ends the supervisor: nothing is left. Failure is empty after an
	// ordinary stop.
	Finish struct{ Failure string }
)

func (Boot) isEvent()          {}
func (Requested) isEvent()     {}
func (StopRequested) isEvent() {}
func (Recovered) isEvent()     {}
func (Starting) isEvent()      {}
func (Started) isEvent()       {}
func (Rejoined) isEvent()      {}
func (Admitted) isEvent()      {}
func (NotAdmitted) isEvent()   {}
func (HookPassed) isEvent()    {}
func (HookFailed) isEvent()    {}
func (TimerFired) isEvent()    {}
func (SaidReady) isEvent()     {}
func (SaidFailed) isEvent()    {}
func (SaidPaused) isEvent()    {}
func (SaidResumed) isEvent()   {}
func (SaidDrained) isEvent()   {}
func (ChannelLost) isEvent()   {}
func (Exited) isEvent()        {}
func (ProbePassed) isEvent()   {}
func (ProbeFailed) isEvent()   {}
func (GateOpened) isEvent()    {}
func (GateShut) isEvent()      {}
func (Tripped) isEvent()       {}

func (Admit) isAction()          {}
func (RunHook) isAction()        {}
func (ProbeReady) isAction()     {}
func (OpenGate) isAction()       {}
func (WatchBake) isAction()      {}
func (ConfirmBake) isAction()    {}
func (Unwatch) isAction()        {}
func (Launch) isAction()         {}
func (Pause) isAction()          {}
func (Resume) isAction()         {}
func (Drain) isAction()          {}
func (Terminate) isAction()      {}
func (Kill) isAction()           {}
func (SetTimer) isAction()       {}
func (StopTimer) isAction()      {}
func (Tell) isAction()           {}
func (Reply) isAction()          {}
func (Decide) isAction()         {}
func (CloseListeners) isAction() {}
func (Finish) isAction()         {}
