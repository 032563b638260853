package upgrade_test

import (
	"slices"
	"testing"

	"example.com/supervisor/upgrade"
)

// BenchmarkStep is one whole upgrade, from the request to the end of the old
// generation's drain: six events.
func BenchmarkStep(b *testing.B) {
	m, err := upgrade.NewMachine(upgrade.Policy{MaxDraining: 1})
	if err != nil {
		b.Fatal(err)
	}
	release := upgrade.Release{Path: "/srv/app"}
	m.Step(upgrade.Boot{Release: release})
	m.Step(upgrade.SaidReady{Generation: 1, CanPause: true})
	m.Step(upgrade.ProbePassed{Generation: 1})
	b.ReportAllocs()
	request := uint64(0)
	for n := 1; b.Loop(); n++ {
		request++
		m.Step(upgrade.Requested{Request: request, Kind: upgrade.KindUpgrade})
		m.Step(upgrade.Admitted{Request: request, Release: release})
		m.Step(upgrade.SaidReady{Generation: n + 1, CanPause: true})
		m.Step(upgrade.ProbePassed{Generation: n + 1})
		m.Step(upgrade.SaidPaused{Generation: n, ID: pauseID(b, m.Step(upgrade.GateOpened{Generation: n + 1}))})
		m.Step(upgrade.Exited{Generation: n, Clean: true})
	}
}

func pauseID(b *testing.B, actions []upgrade.Action) uint64 {
	for _, a := range actions {
		if pause, ok := a.(upgrade.Pause); ok {
			return pause.ID
		}
	}
	b.Fatal("the gate opened and nothing was paused")
	return 0
}

// BenchmarkUpgrade is the time from the request to the commit beyond the
// candidate's own start-up, with real processes, no settle window and no bake.
func BenchmarkUpgrade(b *testing.B) {
	p := quick()
	r := startWatched(b, p, nil)
	var beyond []float64
	for b.Loop() {
		report := r.upgrade()
		r.wants(report, upgrade.Committed)
		beyond = append(beyond, (report.DurationSeconds-report.StartupSeconds)*1000)
		b.StopTimer()
		r.await("the drain's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
		b.StartTimer()
	}
	slices.Sort(beyond)
	b.ReportMetric(beyond[len(beyond)/2], "ms-beyond-startup-p50")
	b.ReportMetric(beyond[len(beyond)*99/100], "ms-beyond-startup-p99")
	r.stop()
}
