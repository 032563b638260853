package systemdtest

import (
	"testing"
	"time"
)

func TestBoot(t *testing.T) {
	t0 := time.Now()
	Each(t, func(t *testing.T, m *Machine) {
		t.Log(m.Version, time.Since(t0), m.Systemctl(t, "is-system-running"))
		t.Log(m.Systemctl(t, "list-units"))
		t.Log(m.Journal(t))
		t.Log(m.Processes(t, "systemd-journald.service"))
	})
}
