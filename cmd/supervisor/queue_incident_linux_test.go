package main

import (
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// TestStandingQueueRefuses deploys into an incident: the active generation
// accepts slower than connections arrive. That is refused, and let in where it
// is said to be the cure: by force, or because it is a rollback.
func TestStandingQueueRefuses(t *testing.T) {
	r := startRig(t, misbehaveIn(t), setup{})
	slow := []string{"-slow-accept", "5ms"}
	r.committed(slow...) // nobody connects yet

	run := r.standing()
	output, status := r.command("upgrade")
	if status != exitRefused || !strings.Contains(output, "this is no moment to deploy: listener http: its queue stands") || !strings.Contains(output, "--force") {
		t.Errorf("exit status %d, want %d: %s", status, exitRefused, output)
	}
	report := r.ask(upgrade.KindRollback, upgrade.Request{WaitDrain: true}, nil)
	r.cures(report, run)
	if report.Overruled != "" {
		t.Errorf("a rollback overruled %q", report.Overruled)
	}

	r.committed(slow...)
	run = r.standing()
	q := r.to("-version", "cure")
	q.Force = true
	report = r.attempt(q, nil)
	r.cures(report, run)
	if !report.Forced || !strings.Contains(report.Overruled, "its queue stands") {
		t.Errorf("forced %t, overruled %q", report.Forced, report.Overruled)
	}
	r.noDrops()
}

// standing sends more than a generation of -slow-accept 5ms takes, and returns
// when the queue stands.
func (r *rig) standing() *load.Run {
	r.Helper()
	run := r.arrivals(300)
	r.awaitQueue("a standing queue", stands)
	return run
}

// cures wants an upgrade to have emptied the queue, with nobody failed.
func (r *rig) cures(report upgrade.Report, run *load.Run) {
	r.Helper()
	if report.Verdict != upgrade.Committed {
		r.Fatalf("%s (%s), want committed", report.Verdict, report.Reason)
	}
	r.awaitQueue("an empty queue", isEmpty)
	r.answered(run, 50)
	r.failed(run, 0)
}

// TestDropsRefuse deploys right after the kernel has dropped packets of clients.
func TestDropsRefuse(t *testing.T) {
	r := startRig(t, misbehaveIn(t), setup{listen: "http=tcp://127.0.0.1:0?backlog=4"})
	r.committed("-slow-accept", "5ms") // nobody connects yet
	run := r.burst(30)
	r.awaitQueue("drops", func(l queue.Listener) bool { return *l.Drops > 0 })
	r.poll("answers to all", func() bool { return run.Snapshot().OK == 30 })
	r.failed(run, 0)
	r.awaitQueue("an empty queue", isEmpty)

	output, status := r.command("upgrade")
	if status != exitRefused || !strings.Contains(output, "the kernel dropped") {
		t.Errorf("exit status %d, want %d: %s", status, exitRefused, output)
	}
	q := r.to()
	q.Force = true
	if report := r.attempt(q, nil); report.Verdict != upgrade.Committed || !strings.Contains(report.Overruled, "the kernel dropped") {
		t.Errorf("%s (%s), overruled %q", report.Verdict, report.Reason, report.Overruled)
	}
}

// TestSteadyFill upgrades a service whose queue is always filled by four fifths
// to more of the same: refused, and no worse than before where that is
// overruled.
func TestSteadyFill(t *testing.T) {
	const backlog, clients = 128, 104 // one of these is being served
	slow := []string{"-slow-accept", "5ms"}
	r := startRig(t, misbehaveIn(t), setup{listen: shortQueue})
	r.committed(slow...)
	run := r.load(load.Traffic{Pattern: load.InFlight, Clients: clients})
	r.awaitQueue("a queue that stands", func(l queue.Listener) bool { return stands(l) && *l.Depth >= backlog*3/4 })
	r.answered(run, 4*clients) // for longer than a baseline goes back
	without := r.drops()

	if report := r.upgrade(slow...); report.Verdict != upgrade.Refused {
		t.Errorf("%s (%s), want refused", report.Verdict, report.Reason)
	}
	q := r.to(slow...)
	q.Force = true
	report := r.attempt(q, nil)
	if report.Verdict == upgrade.Refused || report.Overruled == "" {
		t.Errorf("%s (%s), overruled %q", report.Verdict, report.Reason, report.Overruled)
	}
	r.answered(run, clients)
	r.failed(run, 0)
	with := r.drops() - without
	t.Logf("packets dropped without an upgrade: %d, with one: %d", without, with)
	if with > without {
		t.Errorf("with an upgrade %d packets were dropped, without one %d", with, without)
	}
}
