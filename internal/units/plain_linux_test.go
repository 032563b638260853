package units

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plainSocket and plainService are units of a service that stands alone, without
// a supervisor. They are those of docs/alone.md.
const (
	plainSocket = `[Socket]
ListenStream=` + address + `
FileDescriptorName=http
`
	plainService = `[Unit]
Requires=web.socket

[Service]
Type=notify
ExecStart=/srv/web/current -pid-file /run/web/pid
PIDFile=/run/web/pid
RuntimeDirectory=web
ExecReload=kill -HUP $MAINPID
User=daemon
WatchdogSec=2s
TimeoutStopSec=20s
`
)

// plain installs the units, with a drop-in of more settings.
func plain(t *testing.T, m machine, more string) site {
	t.Helper()
	s := site{m}
	s.link(t, program)
	m.WriteUnit(t, "web.socket", plainSocket)
	m.WriteUnit(t, "web.service", plainService)
	m.WriteUnit(t, "web.service.d/more.conf", "[Service]\n"+more)
	m.Reload(t)
	s.Systemctl(t, "start", "web.socket", "web.service")
	return s
}

// link makes a program the current release.
func (s site) link(t *testing.T, to string) {
	t.Helper()
	run(t, s.Command(t.Context(), "mkdir", "-p", "/srv/web"))
	run(t, s.Command(t.Context(), "ln", "-sfn", to, current))
}

// alone waits until a process is the service's only one, and returns its number.
func (s site) alone(t *testing.T) int {
	t.Helper()
	s.Await(t, "one process", patience, func() bool {
		return slices.Equal(s.Processes(t, "web.service"), []int{s.mainPID(t)}) && s.Show(t, "web.service", "SubState") == "running"
	})
	return s.mainPID(t)
}

// TestServiceAloneInAUnit: a service without a supervisor is upgraded by a reload,
// stays what it is after one that fails, and is restarted, under load.
func TestServiceAloneInAUnit(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := plain(t, m, "")
		run := s.load(t)
		served(t, s, run)
		pids := []int{s.alone(t)}
		for range 2 {
			s.Systemctl(t, "reload", "web.service")
			served(t, s, run)
			pids = append(pids, s.alone(t))
		}
		s.link(t, "/bin/false")
		s.Systemctl(t, "reload", "web.service")
		s.Await(t, "the reason in the status", patience, func() bool {
			return strings.HasPrefix(s.Show(t, "web.service", "StatusText"), "upgrade failed: child pid=")
		})
		s.link(t, program)
		if now := s.alone(t); now != pids[2] {
			t.Errorf("process %d serves after an upgrade that failed, of %v", now, pids)
		}
		served(t, s, run)
		s.Systemctl(t, "restart", "web.service")
		pids = append(pids, s.alone(t))
		s.unharmed(t, run)
		slices.Sort(pids)
		if len(slices.Compact(pids)) != 4 {
			t.Errorf("the processes that served: %v", pids)
		}
		s.Systemctl(t, "stop", "web.socket", "web.service")
		s.endedWell(t)
	})
}

// endedWell expects that the service has ended by itself, once it was told to.
func (s site) endedWell(t *testing.T) {
	t.Helper()
	for property, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "NRestarts": "0", "ExecMainStatus": "0"} {
		if got := s.Show(t, "web.service", property); got != want {
			t.Errorf("%s is %s instead of %s", property, got, want)
		}
	}
	if left := s.Processes(t, "web.service"); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
	for _, complaint := range []string{"reception only permitted", "does not belong to", "which is not our child"} {
		if text := s.Journal(t, "--unit=web.service", "--output=cat"); strings.Contains(text, complaint) {
			t.Errorf("systemd complains: %s in\n%s", complaint, text)
		}
	}
}

// TestServiceAloneReloadsByItsSignal: systemd itself sends SIGHUP and waits for
// the end of the upgrade.
func TestServiceAloneReloadsByItsSignal(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		if m.Version < 253 {
			t.Skip("systemd " + strconv.Itoa(m.Version) + " does not have Type=notify-reload")
		}
		s := plain(t, m, "Type=notify-reload\nExecReload=\n")
		run := s.load(t)
		served(t, s, run)
		before := s.alone(t)
		s.Systemctl(t, "reload", "web.service")
		s.Await(t, "another process", patience, func() bool { return s.mainPID(t) != before })
		s.alone(t)
		s.unharmed(t, run)
		s.Systemctl(t, "stop", "web.socket", "web.service")
		s.endedWell(t)
	})
}
