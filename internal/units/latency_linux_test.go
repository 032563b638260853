package units

import (
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/systemdtest"
)

// startTime is how long the services take to get ready.
const startTime = "300ms"

// most is how much longer than before clients may wait because of an upgrade, in
// milliseconds, and attempts how often a machine that is busy may be the reason.
const (
	most     = 20
	attempts = 6
)

// TestUpgradeCostsNoClientTheStart compares an upgrade of a service that takes
// long to start with what systemd does without a supervisor: a restart, for which
// clients wait in the socket unit's queue. It takes times, so it runs before the
// other tests, and one version after the other.
func TestUpgradeCostsNoClientTheStart(t *testing.T) {
	systemdtest.Each(t, func(t *testing.T, m *systemdtest.Machine) {
		s := site{equip(t, m)}
		s.prepare(t)
		s.release(t, "exec "+misbehave+" -start-delay "+startTime)
		plain := s.Build(t, "./testdata/plain")
		s.WriteUnit(t, "plain.socket", "[Socket]\nListenStream=127.0.0.1:90\nBacklog=4096\n")
		s.WriteUnit(t, "plain.service", "[Service]\nExecStart="+plain+" "+startTime+"\n")
		s.Reload(t)
		s.Systemctl(t, "start", "web.service", "plain.socket", "plain.service")

		fresh := load.Traffic{Pattern: load.NewConnection, Rate: 16 * 10}
		kept := load.Traffic{Pattern: load.KeepAlive, Clients: 16, Rate: 10}
		// It waits for kept connections until their clients end them.
		s.latency(t, "127.0.0.1:90", "restart", "plain.service", fresh)
		calm := float64(most)
		for range attempts {
			cost, before := s.latency(t, address, "reload", "web.service", fresh, kept)
			if cost <= most {
				return
			}
			calm = min(calm, before)
		}
		if calm > most/2 {
			t.Skip("the machine is too busy: clients wait for long although nothing happens")
		}
		t.Errorf("upgrades cost a client more than %d ms", most)
	})
}

// latency logs what clients see while a unit is upgraded or restarted again and
// again. It returns how much longer than before the slowest of them waited, and
// how long that was before, in milliseconds.
func (s site) latency(t *testing.T, address, command, unit string, traffic ...load.Traffic) (cost, before float64) {
	t.Helper()
	run, err := load.Start(t.Context(), load.Config{
		Target: "http://" + address, Dial: s.Dial, Duration: time.Minute, AfterEvent: 900 * time.Millisecond, Traffic: traffic,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop() })
	served(t, s, run) // and what started is over
	for range 2 {
		<-time.After(400 * time.Millisecond)
		run.Mark(load.Event{Label: command})
		s.Systemctl(t, command, unit)
	}
	served(t, s, run)
	r := run.Stop()
	if r.Failed > 0 {
		t.Errorf("%s: %d failed of %d: %+v", unit, r.Failed, r.Requests, r.FailedByKind)
	}
	for _, seen := range r.Traffic {
		t.Logf("systemd %d, %s to start: %-7s %-13s  %-14s  %d failed of %4d, slowest %5.1f ms (before: %.1f ms)",
			s.Version, startTime, command, unit, seen.Pattern, seen.Failed, seen.Requests, seen.AfterEvent.MaxMS, seen.Steady.MaxMS)
		cost, before = max(cost, seen.AfterEvent.MaxMS-seen.Steady.MaxMS), max(before, seen.Steady.MaxMS)
	}
	return cost, before
}
