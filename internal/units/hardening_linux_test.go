package units

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestServiceWithoutANetworkServes: where the program may make no IP socket, and
// where it has no network at all, the listeners of the socket unit work on, with
// all that happens to a service.
func TestServiceWithoutANetworkServes(t *testing.T) {
	eachSite(t, []string{"--no-network"}, func(t *testing.T, s site) {
		s.Systemctl(t, "stop", "web.service")
		s.WriteUnit(t, "web.service.d/network.conf", "[Service]\nPrivateNetwork=yes\n")
		s.Reload(t)
		s.Systemctl(t, "start", "web.service")
		run := s.load(t)
		served(t, s, run)
		s.sealed(t, s.active(t, 1).Generations[0].PID)
		s.release(t, "bash -c 'exec 3<>/dev/tcp/127.0.0.1/80'\nexec "+misbehave)
		s.Systemctl(t, "reload", "web.service")
		before := s.active(t, 2)
		if out := s.Journal(t, "--unit=web.service", "--output=cat"); !strings.Contains(out, "Address family not supported by protocol") {
			t.Errorf("a program can make IP sockets:\n%s", out)
		}
		s.Kill(t, before.PID, syscall.SIGKILL)
		s.adopted(t, before, 1)
		s.reexecute(t)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 3)
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// sealed looks for the seals of the unit on a process (proc_pid_status(5)), so
// that a test of what they bear tests something.
func (s site) sealed(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(s.Path(fmt.Sprintf("/proc/%d/status", pid)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n", "\nUid:\t1\t1\t1\t1\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("process %d has no %q:\n%s", pid, want, text)
		}
	}
}
