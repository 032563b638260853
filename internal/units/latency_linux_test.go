package units

import (
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/systemdtest"
)

// startTime is how long the services take to get ready.
const startTime = "300ms"

// TestUpgradeCostsNoClientTheStart compares an upgrade of a service that takes
// long to start with what systemd does without a supervisor: a restart, for which
// clients wait in the socket unit's queue. It runs alone, as it takes times.
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

		upgrade := s.latency(t, address, "reload", "web.service")
		restart := s.latency(t, "127.0.0.1:90", "restart", "plain.service")
		t.Logf("systemd %d: %s to start; new connections: upgrade max %.1f ms (steady %.1f ms), restart without a supervisor max %.1f ms (steady %.1f ms)",
			s.Version, startTime, upgrade.AfterEvent.MaxMS, upgrade.Steady.MaxMS, restart.AfterEvent.MaxMS, restart.Steady.MaxMS)
		if upgrade.AfterEvent.MaxMS > restart.AfterEvent.MaxMS/2 {
			t.Error("an upgrade costs clients as much as a restart")
		}
	})
}

// latency is that of 32 clients while the unit is upgraded or restarted again and
// again.
func (s site) latency(t *testing.T, address, command, unit string) load.TrafficReport {
	t.Helper()
	run, err := load.Start(t.Context(), load.Config{
		Target: "http://" + address, Dial: s.Dial, Duration: time.Minute, AfterEvent: 900 * time.Millisecond,
		Traffic: []load.Traffic{{Pattern: load.NewConnection, Rate: 32 * 10}},
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
	t.Logf("systemd %d: %s %s: %s", s.Version, command, unit, counts(r))
	return r.Traffic[0]
}
