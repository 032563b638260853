package units

import (
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
// which is no loss: nobody is left without an answer. Whose handshake ends between
// the last look at the queue and the close is reset, unless the generation may
// hold handshakes off by a filter (SO_ATTACH_FILTER), which some kernels deny a
// unit without privileges: one in about ten stops.
func TestStopAnswersWhatItAccepted(t *testing.T) {
	eachSite(t, []string{"--no-socket"}, func(t *testing.T, s site) {
		run := s.load(t, load.Traffic{Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"})
		served(t, s, run)
		s.stop(t)
		s.Await(t, "clients that are refused", patience, func() bool { return run.Snapshot().Failed > 0 })
		r := run.Stop()
		refused, reset := r.FailedByKind[load.Refused], r.FailedByKind[load.Reset]
		if refused == 0 || reset > 2 || refused+reset != r.Failed {
			t.Errorf("clients were not only refused: %v: %+v", r.FailedByKind, r.Traffic)
		}
		t.Logf("systemd %d: %d answered, then %d refused, %d reset", s.Version, r.OK, refused, reset)
	})
}
