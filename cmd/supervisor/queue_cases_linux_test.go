package main

import (
	"testing"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// These tests are not parallel: each wants what it measures for itself. They
// count, and measure no times.

// shortQueue is a listener whose accept queue holds few connections: an eighth
// of a second of a thousand a second.
const shortQueue = "http=tcp://127.0.0.1:0?backlog=128"

// A badCandidate is a candidate that must not replace what runs.
type badCandidate struct {
	name  string
	flags []string // of the candidate
	setup setup
	kept  int // clients that keep a connection to the active generation open
	// mayCut: it accepts connections and does not finish them. Nobody else can.
	mayCut bool
}

// TestBadCandidateIsUndone upgrades to programs that are ready and pass every
// probe, and do not keep up with what arrives. The kernel drops nothing, nobody
// fails but those whom the candidate itself had accepted, and the old
// generation serves on.
func TestBadCandidateIsUndone(t *testing.T) {
	misbehave := misbehaveIn(t)
	for _, c := range []badCandidate{
		{name: "accepts slower than they arrive", flags: []string{"-slow-accept", "5ms"}},
		{name: "stops accepting", flags: []string{"-stop-accepting-after", "50"}},
		{name: "stalls after a second", flags: []string{"-stall-after", "1s"}, setup: setup{flags: []string{"--bake", "4s"}}},
		{name: "blocks its handlers at once", flags: []string{"-block-handlers-after", "0"}, mayCut: true},
		{name: "blocks its handlers later", flags: []string{"-block-handlers-after", "200"}, setup: setup{flags: []string{"--bake", "4s"}}, mayCut: true},
		{name: "blocks its handlers later, while many connections are long", flags: []string{"-block-handlers-after", "200"}, setup: setup{flags: []string{"--bake", "4s"}}, kept: steady / 4, mayCut: true},
	} {
		t.Run(c.name, func(t *testing.T) { c.isUndone(t, misbehave) })
	}
}

// TestShortQueueIsNeverFull is the same where a queue of 128 leaves little time.
func TestShortQueueIsNeverFull(t *testing.T) {
	misbehave := misbehaveIn(t)
	for _, c := range []badCandidate{
		{name: "stops accepting", flags: []string{"-stop-accepting-after", "50"}, setup: setup{listen: shortQueue}},
		{name: "stalls after a second", flags: []string{"-stall-after", "1s"}, setup: setup{listen: shortQueue, flags: []string{"--bake", "4s"}}},
	} {
		t.Run(c.name, func(t *testing.T) { c.isUndone(t, misbehave) })
	}
}

// isUndone upgrades to the candidate under load.
func (c badCandidate) isUndone(t *testing.T, misbehave string) {
	if c.mayCut { // sooner than its clients give up
		c.setup.flags = append(c.setup.flags, "--drain-timeout", "1s")
	}
	r := startRig(t, misbehave, c.setup)
	if c.kept > 0 {
		kept := r.load(load.Traffic{Pattern: load.KeepAlive, Clients: c.kept, Rate: 1})
		r.answered(kept, uint64(c.kept))
		defer func() { r.failed(kept, 0) }() // none of them is the candidate's
	}
	run := r.arrivals(steady)
	r.answered(run, steady/2)
	var report upgrade.Report
	refused := -1
	r.poll("a moment to deploy", func() bool { // the first generation may not keep up at once, on a busy machine
		refused++
		report = r.upgrade(c.flags...)
		return report.Verdict != upgrade.Refused
	})
	if report.Verdict != upgrade.Aborted && report.Verdict != upgrade.RolledBack {
		t.Errorf("%s (%s), want it undone", report.Verdict, report.Reason)
	}
	r.servesOn(run, 1)
	lost := uint64(0)
	if c.mayCut {
		lost = uint64(report.Cut)
	}
	r.failed(run, lost)
	if refused == 0 {
		r.noDrops()
	}
	r.accounted(report) // no drops either
}

// servesOn waits until the generation is alone and answers.
func (r *rig) servesOn(run *load.Run, generation int) {
	r.Helper()
	r.await("the one generation", func(s upgrade.Status) bool {
		return len(s.Generations) == 1 && s.Generations[0].Generation == generation && s.Generations[0].Role == upgrade.RoleActive
	})
	r.answered(run, steady/4)
}

// accounted wants the report of an upgrade that was undone to tell why: by
// samples of the queue, or by what the candidate left open.
func (r *rig) accounted(report upgrade.Report) {
	r.Helper()
	if len(report.Queues) != 1 {
		r.Fatalf("the report's queues: %+v", report.Queues)
	}
	q := report.Queues[0]
	if q.Drops == nil || *q.Drops > 0 || len(q.Samples) == 0 && report.CandidateOpen == 0 {
		r.Errorf("drops, or neither samples nor an open connection: %+v", q)
	}
	r.Logf("%d accepted by the candidate, %d open at the verdict, %d cut", report.CandidateAccepted, report.CandidateOpen, report.Cut)
}

// TestHealthyUpgradeUnderLoad wants the gate to open by itself.
func TestHealthyUpgradeUnderLoad(t *testing.T) {
	r := startRig(t, misbehaveIn(t), setup{flags: []string{"--bake", "1s"}})
	run := r.arrivals(steady)
	r.answered(run, steady/2)
	r.committed("-version", "2")
	r.servesOn(run, 2)
	r.failed(run, 0)
	r.noDrops()
}
