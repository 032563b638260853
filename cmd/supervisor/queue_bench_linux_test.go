package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// BenchmarkRollbackFromStandingQueue tells how long it takes from the first
// sign of a standing queue until the old generation accepts again: from the
// moment when the oldest connection had waited for as long as queue-target, to
// the verdict, over stalls of three kinds under load. The longest answer is
// what the clients saw of it.
func BenchmarkRollbackFromStandingQueue(b *testing.B) {
	misbehave := misbehaveIn(b)
	var took []time.Duration
	var longest float64
	var drops, failed uint64
	for b.Loop() {
		r := startRig(b, misbehave, setup{})
		run := r.arrivals(1000)
		r.answered(run, 500)
		for range 4 {
			for _, kind := range [][]string{{"-stop-accepting-after", "1"}, {"-slow-accept", "5ms"}, {"-stall-after", "300ms"}} {
				report := r.upgrade(kind...)
				if report.Verdict != upgrade.RolledBack {
					b.Fatalf("%s (%s), want rolled-back", report.Verdict, report.Reason)
				}
				took = append(took, sinceStanding(b, report))
				r.answered(run, 300)
			}
		}
		report := r.failed(run, 0)
		longest = max(longest, report.Traffic[0].All.MaxMS)
		drops, failed = drops+r.drops(), failed+report.Failed
		r.stop()
	}
	slices.Sort(took)
	b.Logf("%v", took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "median-ms")
	b.ReportMetric(milliseconds(took[(len(took)*99+99)/100-1]), "p99-ms")
	b.ReportMetric(longest, "longest-answer-ms")
	b.ReportMetric(float64(drops), "drops")
	b.ReportMetric(float64(failed), "failed")
}

// sinceStanding is the time from the first sign of the queue that stood last to
// the verdict. The samples of a report count from the request, as its duration
// does.
func sinceStanding(b *testing.B, report upgrade.Report) time.Duration {
	b.Helper()
	const target = 0.005 // seconds: the default of queue-target
	first := -1.0
	for _, s := range slices.Backward(report.Queues[0].Samples) {
		old := s.OldestSeconds != nil && *s.OldestSeconds >= target
		if old {
			first = s.Seconds - *s.OldestSeconds + target
		}
		if first >= 0 && !old && (s.OldestSeconds != nil || s.Depth == 0) {
			break // before it stood
		}
	}
	if first < 0 { // no head was seen: it stood since the queue was empty last, at the longest
		for _, s := range slices.Backward(report.Queues[0].Samples) {
			if s.Depth == 0 {
				first = s.Seconds + target
				break
			}
		}
	}
	if first < 0 {
		b.Fatalf("no sample of a standing queue: %+v", report.Queues[0])
	}
	return time.Duration((report.DurationSeconds - first) * float64(time.Second))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkHealthyUpgradeAt5000 tells what an upgrade costs clients that
// connect anew 5,000 times a second: the 99th percentile of how long an answer
// takes, counted from when the request was due, in the steady state and in the
// two seconds from the beginning of the upgrade on. Of several upgrades it
// tells the median.
func BenchmarkHealthyUpgradeAt5000(b *testing.B) {
	misbehave := misbehaveIn(b)
	var steady, during, difference []float64
	var drops, failed uint64
	for b.Loop() {
		r := startRig(b, misbehave, setup{flags: []string{"--bake", "1s"}})
		r.warm(5000)
		run := r.send(load.Config{AfterEvent: 2 * time.Second, Traffic: []load.Traffic{{Pattern: load.NewConnection, Rate: 5000}}})
		r.answered(run, 10_000)
		run.Mark(load.Event{Label: "upgrade"})
		r.committed("-version", "2")
		r.answered(run, 7_500)
		report := r.failed(run, 0)
		before, then := report.Traffic[0].Steady, report.Traffic[0].AfterEvent
		b.Logf("steady %+v, during the upgrade %+v, start lag %+v", before, then, report.StartLag)
		steady, during = append(steady, before.P99MS), append(during, then.P99MS)
		difference = append(difference, then.P99MS-before.P99MS)
		drops, failed = drops+r.drops(), failed+report.Failed
		r.stop()
	}
	b.ReportMetric(median(steady), "steady-p99-ms")
	b.ReportMetric(median(during), "upgrade-p99-ms")
	b.ReportMetric(median(difference), "p99-difference-ms")
	b.ReportMetric(float64(drops), "drops")
	b.ReportMetric(float64(failed), "failed")
}

// warm sends a second of traffic that is not measured.
func (r *rig) warm(perSecond float64) {
	r.Helper()
	run := r.arrivals(perSecond)
	r.answered(run, uint64(perSecond))
	r.failed(run, 0)
}

func median[T cmp.Ordered](all []T) T { return slices.Sorted(slices.Values(all))[len(all)/2] }

// BenchmarkBurst tells how many packets the kernel drops when 2,000 clients
// come at once to a queue of 128: without an upgrade, and in its gate and its
// bake. The three take turns, because the figures vary widely.
func BenchmarkBurst(b *testing.B) {
	misbehave := misbehaveIn(b)
	dropped := map[upgrade.Phase][]uint64{}
	phases := map[upgrade.Phase]string{"": "without", upgrade.PhaseGate: "in-gate", upgrade.PhaseBake: "in-bake"}
	for b.Loop() {
		for when := range phases {
			r := startRig(b, misbehave, setup{listen: shortQueue, flags: []string{"--settle", "300ms"}})
			dropped[when] = append(dropped[when], r.burstIn(when))
			r.stop()
		}
	}
	for when, name := range phases {
		b.Logf("%s: %v", name, dropped[when])
		b.ReportMetric(float64(median(dropped[when])), "drops-"+name)
	}
}
