package upgrade

// A Phase is where an upgrade is. The supervisor itself is in PhaseIdle when no
// upgrade runs.
type Phase string

const (
	PhaseIdle      Phase = "idle"      // no upgrade runs
	PhaseAdmission Phase = "admission" // may the upgrade start at all?
	PhaseStart     Phase = "start"     // the candidate starts, receives the listeners and says ready
	PhaseReady     Phase = "ready"     // the candidate is probed
	PhaseOverlap   Phase = "overlap"   // active and candidate both accept
	PhaseGate      Phase = "gate"      // may the active generation stop accepting?
	PhaseCutOver   Phase = "cut-over"  // the old generation pauses
	PhaseBake      Phase = "bake"      // the new generation is watched
	PhaseRollback  Phase = "rollback"  // the old generation resumes
	PhaseCommit    Phase = "commit"    // the old generation is told to drain
	PhaseDrain     Phase = "drain"     // the caller waits for the old generation's end
	PhaseVerdict   Phase = "verdict"   // the upgrade has ended
)

// A Role is what a generation is at the moment.
type Role string

const (
	RoleCandidate  Role = "candidate"  // started, not promoted
	RoleActive     Role = "active"     // accepts
	RolePaused     Role = "paused"     // was active, accepts nothing, can be resumed
	RoleDraining   Role = "draining"   // will never accept again
	RoleRestarting Role = "restarting" // takes the place of an active generation that ended
	RoleKilled     Role = "killed"     // was sent SIGKILL and has not ended yet
)
