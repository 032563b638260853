package upgrade

import (
	"fmt"
	"time"
)

// Policy holds the limits of time and number that the machine keeps. The zero
// value of a field stands for its default, except where 0 is said to mean none.
type Policy struct {
	// AdmissionTimeout is how long admission may take. Default ReadyTimeout.
	AdmissionTimeout time.Duration
	// ReadyTimeout is how long a candidate may take from its start to its
	// ready, probe included. Default 30 s.
	ReadyTimeout time.Duration
	// Overlap is how long both generations accept at least before the gate is
	// asked. 0 means not at all: the gate's own settle window is an overlap too.
	Overlap time.Duration
	// GateTimeout is how long the gate may take to open. Default 10 s.
	GateTimeout time.Duration
	// PauseTimeout is how long a generation may take to answer pause or
	// resume. Default 2 s.
	PauseTimeout time.Duration
	// Bake is how long the new generation is watched alone before the commit.
	// 0 means not at all.
	Bake time.Duration
	// DrainTimeout is how long a draining generation may serve what it has
	// accepted. Default 30 s.
	DrainTimeout time.Duration
	// StopGrace is how long a generation has between the end of its drain, or
	// a SIGTERM, and the next harsher means. Default 5 s.
	StopGrace time.Duration
	// BackoffMin and BackoffMax bound the pause before a crashed active
	// generation is started again; it doubles with every failure. Defaults
	// 100 ms and 30 s.
	BackoffMin, BackoffMax time.Duration
	// StableAfter is how long a restarted generation must live for its
	// failures to be forgotten. Default 10 s.
	StableAfter time.Duration
	// Hooks are the limits of the hooks.
	Hooks HookTimes
	// MaxDraining is how many generations may drain when an upgrade starts.
	// Default 8.
	MaxDraining int
}

// WithDefaults returns p with its zero fields filled in.
func (p Policy) WithDefaults() Policy {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&p.ReadyTimeout, 30*time.Second)
	def(&p.AdmissionTimeout, p.ReadyTimeout)
	def(&p.GateTimeout, 10*time.Second)
	def(&p.PauseTimeout, 2*time.Second)
	def(&p.DrainTimeout, 30*time.Second)
	def(&p.StopGrace, 5*time.Second)
	def(&p.BackoffMin, 100*time.Millisecond)
	def(&p.BackoffMax, 30*time.Second)
	def(&p.StableAfter, 10*time.Second)
	if p.MaxDraining == 0 {
		p.MaxDraining = 8
	}
	return p
}

// Validate names the first field whose value cannot be used.
func (p Policy) Validate() error {
	fields := []struct {
		name  string
		value time.Duration
	}{
		{"AdmissionTimeout", p.AdmissionTimeout}, {"ReadyTimeout", p.ReadyTimeout}, {"Overlap", p.Overlap}, {"GateTimeout", p.GateTimeout},
		{"PauseTimeout", p.PauseTimeout}, {"Bake", p.Bake}, {"DrainTimeout", p.DrainTimeout},
		{"StopGrace", p.StopGrace}, {"BackoffMin", p.BackoffMin}, {"BackoffMax", p.BackoffMax},
		{"StableAfter", p.StableAfter},
		{"Hooks.BeforeStart", p.Hooks.BeforeStart}, {"Hooks.AfterReady", p.Hooks.AfterReady}, {"Hooks.BeforeCutOver", p.Hooks.BeforeCutOver},
		{"Hooks.AfterCommit", p.Hooks.AfterCommit}, {"Hooks.OnAbort", p.Hooks.OnAbort}, {"Hooks.OnRollback", p.Hooks.OnRollback},
	}
	for _, f := range fields {
		if f.value < 0 {
			return fmt.Errorf("%s must not be negative: %v", f.name, f.value)
		}
	}
	if p.BackoffMax > 0 && p.BackoffMin > p.BackoffMax {
		return fmt.Errorf("BackoffMin (%v) must not exceed BackoffMax (%v)", p.BackoffMin, p.BackoffMax)
	}
	if p.MaxDraining < 0 {
		return fmt.Errorf("MaxDraining must not be negative: %d", p.MaxDraining)
	}
	return nil
}
