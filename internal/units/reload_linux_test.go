package units

import (
	"strings"
	"testing"
)

// TestReloadIsAnUpgrade: "systemctl reload" waits for the verdict, and fails
// unless that is committed.
func TestReloadIsAnUpgrade(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		run := s.load(t)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)

		s.release(t, "exec "+misbehave+" -fail 'as asked'")
		_, err := s.TrySystemctl(t.Context(), "reload", "web.service")
		if err == nil || !strings.Contains(err.Error(), "failed") {
			t.Errorf("a bad candidate: %v", err)
		}
		if log := s.Journal(t, "--unit=web", "--output=cat"); !strings.Contains(log, "aborted: ") || !strings.Contains(log, "as asked") {
			t.Errorf("the verdict is not in the journal:\n%s", log)
		}
		s.active(t, 2)

		s.release(t, "exec "+misbehave)
		s.Reload(t) // of the units
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 4)
		s.Reload(t)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 5)
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestKilledInTheMidstOfAReload: systemd starts no supervisor while the command
// of a reload runs, which therefore must not wait for one.
func TestKilledInTheMidstOfAReload(t *testing.T) {
	eachSite(t, []string{"--bake", "1h"}, func(t *testing.T, s site) {
		run := s.load(t)
		before := s.active(t, 1)
		reload := make(chan error, 1)
		go func() {
			_, err := s.TrySystemctl(t.Context(), "reload", "web.service")
			reload <- err
		}()
		s.await(t, "the bake", func(st status) bool { return st.Phase == "bake" })
		s.Systemctl(t, "kill", "--signal=KILL", "--kill-whom=main", "web.service")
		if err := <-reload; err == nil {
			t.Error("the reload has not failed")
		}
		st := s.active(t, 1)
		if st.PID == before.PID || st.Generations[0].PID != before.Generations[0].PID {
			t.Errorf("now %+v, and before %+v", st, before)
		}
		if st.last() != "rolled-back: the supervisor was killed during the bake" {
			t.Errorf("the verdict is %q", st.last())
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestSignalledReloadEnds: with Type=notify-reload "systemctl reload" returns,
// whatever the verdict, and the service goes on.
func TestSignalledReloadEnds(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		if m.Version < 253 {
			return // it does not know Type=notify-reload
		}
		s := site{m}
		s.prepare(t, "--systemd", "254", "--notify-reload")
		s.Systemctl(t, "start", "web.service")
		run := s.load(t)
		for _, c := range []struct {
			release, verdict string
			active           int
		}{
			{"exec " + misbehave, "committed: ", 2},
			{"exec " + misbehave + " -fail 'as asked'", "aborted: ", 2},
			{missing, "refused: ", 2},
			{"exec " + misbehave, "committed: ", 4},
		} {
			s.release(t, c.release)
			s.Systemctl(t, "reload", "web.service")
			if state := s.Show(t, "web.service", "ActiveState"); state != "active" {
				t.Errorf("after %s the service is %s", c.verdict, state)
			}
			if st := s.active(t, c.active); !strings.HasPrefix(st.last(), c.verdict) {
				t.Errorf("the verdict is %q, want %s", st.last(), c.verdict)
			}
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestSocketUnitRestartedBesideTheService: systemd closes its copy of the socket
// and cannot open another, which the service survives; its next start opens the
// socket again.
func TestSocketUnitRestartedBesideTheService(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		run := s.load(t)
		served(t, s, run)
		_, err := s.TrySystemctl(t.Context(), "restart", "web.socket")
		if err == nil {
			t.Error("the restart of web.socket is no error")
		}
		if log := s.Journal(t, "--unit=web.socket", "--output=cat"); !strings.Contains(log, "already active, refusing") {
			t.Errorf("the journal of web.socket has\n%s", log)
		}
		served(t, s, run)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		s.unharmed(t, run)

		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		if state := s.Show(t, "web.socket", "ActiveState"); state != "active" {
			t.Errorf("web.socket is %s", state)
		}
		s.unharmed(t, s.load(t))
		s.stop(t, "web.socket")
	})
}
