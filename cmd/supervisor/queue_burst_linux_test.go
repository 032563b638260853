package main

import (
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// burstConnections come at once, to a shortQueue.
const burstConnections = 2000

// TestBurstDuringUpgrade has so many clients come at once that the queue
// overflows, as it does without an upgrade. Whatever becomes of the upgrade,
// everybody is served in the end.
func TestBurstDuringUpgrade(t *testing.T) {
	misbehave := misbehaveIn(t)
	dropped := map[string]uint64{}
	for _, c := range []struct {
		name string
		when upgrade.Phase
	}{
		{"without an upgrade", ""},
		{"in the gate", upgrade.PhaseGate},
		{"in the bake", upgrade.PhaseBake},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRig(t, misbehave, setup{listen: shortQueue, flags: []string{"--settle", "300ms"}})
			dropped[c.name] = r.burstIn(c.when)
		})
	}
	t.Logf("packets dropped: %v", dropped)
}

// burstIn sends a burst in a phase of an upgrade, "" without one, and returns
// how many packets were dropped once all are served.
func (r *rig) burstIn(when upgrade.Phase) (drops uint64) {
	r.Helper()
	var run *load.Run
	if when == "" {
		run = r.burst(burstConnections)
	} else {
		r.attempt(r.to(), func(p upgrade.Phase) {
			if p == when {
				run = r.burst(burstConnections)
			}
		})
	}
	if run == nil {
		r.Fatalf("the upgrade did not come to the phase %s", when)
	}
	r.poll("all to be served", func() bool { p := run.Snapshot(); return p.OK+p.Failed == burstConnections })
	report := r.failed(run, 0)
	r.Logf("the last was served after %v", time.Duration(report.Traffic[0].All.MaxMS)*time.Millisecond)
	return r.drops()
}
