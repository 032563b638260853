package health

import "time"

// Gate decides whether the active generation may stop accepting.
type Gate struct{}

// NewGate returns a Gate that opens when all has been well for the window.
func NewGate(watched []Watched, window time.Duration) *Gate { return &Gate{} }

// Observe takes one observation of each listener, in the order of watched.
func (g *Gate) Observe(obs []Observation) (f Finding, open bool) { return Finding{}, false }
