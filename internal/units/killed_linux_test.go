package units

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// TestKilledSupervisorIsReplaced: systemd starts the next one, which adopts the
// generations; nobody who uses the service sees any of it.
func TestKilledSupervisorIsReplaced(t *testing.T) {
	for name, flags := range map[string][]string{"socket": nil, "store": {"--no-socket"}} {
		t.Run(name, func(t *testing.T) {
			eachSite(t, flags, func(t *testing.T, s site) {
				run := s.load(t)
				served(t, s, run)
				before := s.active(t, 1)
				s.Systemctl(t, "kill", "--signal=KILL", "--kill-whom=main", "web.service")
				s.adopted(t, before, 1)
				served(t, s, run)

				s.Systemctl(t, "reload", "web.service")
				before = s.active(t, 2)
				s.Systemctl(t, "kill", "--signal=KILL", "--kill-whom=main", "web.service")
				s.adopted(t, before, 2)
				s.unharmed(t, run)
				units := []string{"web.socket"}
				if len(flags) > 0 {
					units = nil
				}
				s.stop(t, units...)
			})
		})
	}
}

// TestKilledServiceBeginsAnew: whoever kills all of it, as "systemctl kill" does
// unless told otherwise, kills what the generations serve. Those who come later
// wait in the queue of the socket unit for the next start.
func TestKilledServiceBeginsAnew(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		before := s.active(t, 1)
		run := s.load(t)
		served(t, s, run)
		s.Systemctl(t, "kill", "--signal=KILL", "web.service")
		s.await(t, "another supervisor", func(st status) bool {
			return st.PID != before.PID && len(st.in("active")) == 1 && st.Generations[0].PID != before.Generations[0].PID
		})
		served(t, s, run)
		if r := run.Stop(); r.FailedByKind[load.Refused]+r.FailedByKind[load.Timeout] > 0 {
			t.Errorf("failures: %v: %+v", r.FailedByKind, r.Traffic)
		} else {
			t.Logf("systemd %d: %s: %v", s.Version, counts(r), r.FailedByKind)
		}
		s.unharmed(t, s.load(t))
		s.stop(t, "web.socket")
	})
}

// adopted waits until the next supervisor, started by systemd for the n-th time,
// has what the last one had.
func (s site) adopted(t *testing.T, before status, n int) {
	t.Helper()
	now := s.await(t, "another supervisor", func(st status) bool { return st.PID != before.PID && len(st.Generations) > 0 })
	was, is := before.Generations[0], now.Generations[0]
	if was.PID != is.PID || was.Generation != is.Generation || is.Role != "active" {
		t.Errorf("it has %+v, the last one had %+v", is, was)
	}
	if count := s.Show(t, "web.service", "NRestarts"); count != strconv.Itoa(n) {
		t.Errorf("%s restarts, want %d", count, n)
	}
	s.Await(t, "active", patience, func() bool { return s.Show(t, "web.service", "ActiveState") == "active" })
}

// TestStalledSupervisorIsReplaced: when it says nothing for as long as
// WatchdogSec= allows, systemd kills it, and the next one goes on.
func TestStalledSupervisorIsReplaced(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		s.WriteUnit(t, "web.service.d/watchdog.conf", "[Service]\nWatchdogSec=400ms\nTimeoutAbortSec=200ms\n")
		s.Reload(t)
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		run := s.load(t)
		s.Systemctl(t, "reload", "web.service") // it is fed all the while
		before := s.active(t, 2)
		if n := s.Show(t, "web.service", "NRestarts"); n != "0" {
			t.Fatalf("%s restarts before the stall", n)
		}
		s.Kill(t, s.mainPID(t), syscall.SIGSTOP)
		s.adopted(t, before, 1)
		log := s.Journal(t, "--unit=web", "--output=cat")
		if !strings.Contains(log, "Watchdog timeout") {
			t.Errorf("no word of the watchdog:\n%s", log)
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestReexec: another supervisor takes the place of the first, and systemd does
// not notice; also while a generation drains.
func TestReexec(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		load := s.load(t)
		served(t, s, load)
		pid := s.mainPID(t)
		s.reexecute(t)
		slow := s.slow(t, 4*time.Second) // less than the drain may last
		s.Systemctl(t, "reload", "web.service")
		s.await(t, "a drain", func(st status) bool { return len(st.in("draining")) == 1 })
		out := run(t, s.Command(t.Context(), supervisor, "reexec", "--name", "web"))
		if st, err := s.ask(t); err != nil || len(st.in("draining")) != 1 {
			t.Errorf("not in the midst of the drain: %+v, %v: %s", st.Generations, err, out)
		}
		if err := <-slow; err != nil {
			t.Errorf("the request of the generation that drained: %v", err)
		}
		s.active(t, 2)
		s.reexecute(t)
		if now, n := s.mainPID(t), s.Show(t, "web.service", "NRestarts"); now != pid || n != "0" {
			t.Errorf("MainPID was %d and is %d after %s restarts", pid, now, n)
		}
		s.unharmed(t, load)
		s.stop(t, "web.socket")
	})
}

// reexecute replaces a supervisor at rest, which its generation does not notice.
func (s site) reexecute(t *testing.T) {
	t.Helper()
	before := s.active(t, s.newest(t))
	out := run(t, s.Command(t.Context(), supervisor, "reexec", "--name", "web"))
	if !strings.Contains(out, "replaced by") {
		t.Errorf("reexec says %q", out)
	}
	after := s.active(t, s.newest(t))
	if before.Generations[0].PID != after.Generations[0].PID {
		t.Errorf("generation %+v became %+v", before.Generations, after.Generations)
	}
}

func (s site) newest(t *testing.T) int {
	t.Helper()
	st := s.await(t, "a generation", func(st status) bool { return len(st.in("active")) == 1 && st.Phase == "idle" })
	return slices.Max(st.in("active"))
}
