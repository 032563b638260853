package health

import "time"

// Recent remembers what would make it unwise to deploy now.
type Recent struct{}

// NewRecent returns a Recent that remembers a drop for as long as memory.
func NewRecent(names []string, limits []Limits, memory time.Duration) *Recent { return &Recent{} }

// Observe takes one observation of each listener, in the order of names.
func (r *Recent) Observe(obs []Observation) {}

// Objection returns what speaks against a deployment now, if anything does.
func (r *Recent) Objection() (f Finding, ok bool) { return Finding{}, false }

// Baselines returns how each queue has been in the last second.
func (r *Recent) Baselines() []Baseline { return nil }
