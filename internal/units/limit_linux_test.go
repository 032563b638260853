package units

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestManyCrashesAreSurvived: as many as somebody tries by hand are far from the
// limit at which systemd gives up.
func TestManyCrashesAreSurvived(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		run := s.load(t)
		served(t, s, run)
		for n := range 10 {
			before := s.active(t, 1)
			s.Kill(t, before.PID, syscall.SIGKILL)
			s.adopted(t, before, n+1)
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestSystemdGivesUp: past the limit there will be no supervisor. Generations
// answer what they have accepted and end, so that the failed unit is no running
// service; systemctl reset-failed and start begin again.
func TestSystemdGivesUp(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.WriteUnit(t, "web.service.d/limit.conf", "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1min\n")
		s.Reload(t)                              // which forgets the starts so far
		s.Systemctl(t, "restart", "web.service") // one
		before := s.active(t, 1)
		group := s.group(t)
		slow := s.slow(t, 2*time.Second)
		s.Kill(t, before.PID, syscall.SIGKILL)
		s.adopted(t, before, 1)
		s.Kill(t, s.active(t, 1).PID, syscall.SIGKILL)
		for _, unit := range []string{"web.service", "web.socket"} {
			s.Await(t, unit+" failed", patience, func() bool { return s.Show(t, unit, "ActiveState") == "failed" })
		}
		if err := <-slow; err != nil {
			t.Errorf("a request that was accepted before: %v", err)
		}
		s.nothingLeft(t, group)
		for unit, want := range map[string][]string{"web.service": {"start-limit-hit", "signal"}, "web.socket": {"service-start-limit-hit"}} {
			if result := s.Show(t, unit, "Result"); !slices.Contains(want, result) {
				t.Errorf("the result of %s is %s", unit, result)
			}
		}
		s.Systemctl(t, "reset-failed", "web.socket", "web.service")
		s.Systemctl(t, "start", "web.socket", "web.service")
		s.active(t, 1)
		s.stop(t, "web.socket")
	})
}
