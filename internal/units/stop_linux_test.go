package units

import (
	"maps"
	"slices"
	"testing"

	"example.com/supervisor/internal/load"
)

// TestStopLeavesTheQueueToTheSocketUnit: systemd keeps what waits in the queue of
// a service that was stopped, and the next connection starts the service again.
func TestStopLeavesTheQueueToTheSocketUnit(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		run := s.load(t, load.Traffic{Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"})
		served(t, s, run)
		for range 2 {
			before := s.mainPID(t)
			s.Systemctl(t, "stop", "web.service")
			s.await(t, "a start by a connection", func(st status) bool { return st.PID != before && slices.Equal(st.in("active"), []int{1}) })
			served(t, s, run)
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestStopAnswersWhatItAccepted: without a socket unit a stop answers all who
// wait in the queue before the port is closed. Whoever comes later is refused,
// which is no loss: nobody is left without an answer.
func TestStopAnswersWhatItAccepted(t *testing.T) {
	eachSite(t, []string{"--no-socket"}, func(t *testing.T, s site) {
		run := s.load(t, load.Traffic{Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"})
		served(t, s, run)
		s.stop(t)
		s.Await(t, "clients that are refused", patience, func() bool { return run.Snapshot().Failed > 0 })
		r := run.Stop()
		if kinds := slices.Collect(maps.Keys(r.FailedByKind)); !slices.Equal(kinds, []load.FailureKind{load.Refused}) {
			t.Errorf("clients were not only refused: %v: %+v", r.FailedByKind, r.Traffic)
		}
		t.Logf("systemd %d: %d answered, then %d refused", s.Version, r.OK, r.FailedByKind[load.Refused])
	})
}
