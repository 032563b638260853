package units

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/internal/load"
)

// instances are those of the template: each is called like its user.
var instances = []string{"daemon", "mail"}

// templates starts two instances of supervisor@.service as it is installed,
// with what is for newer versions where the version is one.
func templates(t *testing.T, m machine) site {
	t.Helper()
	s := site{m}
	s.prepare(t) // a release
	for _, name := range []string{"supervisor@.socket", "supervisor@.service"} {
		m.copyUnit(t, name, name)
	}
	if m.Version >= 254 {
		m.copyUnit(t, "drop-in/254.conf", "supervisor@.service.d/254.conf")
		m.copyUnit(t, "drop-in/notify-reload.conf", "supervisor@.service.d/reload.conf")
	}
	if err := os.MkdirAll(m.Path("/etc/supervisor"), 0o755); err != nil { //nolint:gosec // is read by the services
		t.Fatal(err)
	}
	for _, name := range instances {
		text := fmt.Sprintf("program = [%q]\nbake = \"200ms\"\ndrain-timeout = \"5s\"\nqueue-target = \"5s\"\nqueue-interval = \"10s\"\n", current)
		if err := os.WriteFile(m.Path("/etc/supervisor/"+name+".toml"), []byte(text), 0o644); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	m.Reload(t)
	for _, name := range instances {
		m.Systemctl(t, "start", "supervisor@"+name+".socket", "supervisor@"+name+".service")
	}
	return s
}

// TestInstancesOfTheTemplate: two services run side by side, and what happens to
// one does not touch the other.
func TestInstancesOfTheTemplate(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := templates(t, m)
		one, other := instances[0], instances[1]
		var traffic []load.Traffic
		for _, name := range instances {
			target := "unix:///run/supervisor-" + name + ".sock"
			traffic = append(traffic, load.Traffic{Name: name, Pattern: load.NewConnection, Rate: 50, Target: target},
				load.Traffic{Name: name + ", kept", Pattern: load.KeepAlive, Clients: 4, Rate: 20, Target: target})
		}
		run := s.only(t, traffic...)
		s.activeOf(t, one, 1)
		untouched := s.activeOf(t, other, 1)
		served(t, s, run)
		s.Systemctl(t, "reload", "supervisor@"+one+".service")
		before := s.activeOf(t, one, 2)
		s.Kill(t, before.PID, syscall.SIGKILL)
		s.awaitOf(t, one, "another supervisor", func(st status) bool { return st.PID != before.PID && slices.Equal(st.in("active"), []int{2}) })
		served(t, s, run)
		const slice = "/sys/fs/cgroup/system.slice/system-supervisor.slice/"
		if st := s.activeOf(t, one, 2); st.Generations[0].Group != slice+"supervisor@"+one+".service/generation-2" {
			t.Errorf("generation 2 is in %q", st.Generations[0].Group)
		}
		if st := s.activeOf(t, other, 1); st.PID != untouched.PID || st.Generations[0].PID != untouched.Generations[0].PID {
			t.Errorf("%s has %+v, and had %+v", other, st, untouched)
		}
		s.unharmed(t, run)
		s.Systemctl(t, "stop", "supervisor@"+one+".socket", "supervisor@"+one+".service")
		if left := s.Processes(t, "supervisor@"+one+".service"); len(left) > 0 || exists(s.Path("/run/supervisor/"+one)) {
			t.Errorf("%s left %v", one, left)
		}
		s.activeOf(t, other, 1)
		s.Systemctl(t, "stop", "supervisor@"+other+".socket", "supervisor@"+other+".service")
		if out, err := os.ReadDir(s.Path("/run/supervisor")); err == nil && len(out) > 0 {
			t.Errorf("%v is left", out)
		}
	})
}

// TestServiceWithAUserOfItsOwn: with DynamicUser= systemd invents the user, who
// is the same one after a crash and may go with the service.
func TestServiceWithAUserOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := site{m}
		s.prepare(t)
		s.WriteUnit(t, "web.service.d/user.conf", "[Service]\nDynamicUser=yes\nUser=invented\n")
		s.Reload(t)
		s.Systemctl(t, "start", "web.service")
		before := s.active(t, 1)
		run := s.load(t)
		served(t, s, run)
		if uids := s.uidsOf(t, before.Generations[0].PID); slices.Contains(uids, "0") || slices.Contains(uids, "1") {
			t.Errorf("the generation is of the users %v", uids)
		}
		s.Kill(t, before.PID, syscall.SIGKILL)
		s.adopted(t, before, 1)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// uidsOf are the users of a process (proc_pid_status(5)).
func (s site) uidsOf(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(s.Path(fmt.Sprintf("/proc/%d/status", pid)))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nUid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}
