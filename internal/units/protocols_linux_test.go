package units

import (
	"testing"

	"example.com/supervisor/internal/load"
)

// fresh is traffic for programs that end kept connections when they end.
func fresh() load.Traffic { return load.Traffic{Pattern: load.NewConnection, Rate: 150} }

// TestPlainUnitMovesToASupervisor: a service of systemd's socket activation gets
// the units of a supervisor, with the same socket, while clients connect. A reload
// is an upgrade then; and the way back is the same.
func TestPlainUnitMovesToASupervisor(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := site{m}
		plain := s.Build(t, "./testdata/plain")
		before := "[Service]\nExecStart=" + plain + " 10ms\n"
		s.WriteUnit(t, "web.socket", "[Socket]\nListenStream="+address+"\nBacklog=4096\n")
		s.WriteUnit(t, "web.service", before)
		s.Reload(t)
		s.Systemctl(t, "start", "web.socket", "web.service")
		run := s.only(t, fresh())
		served(t, s, run)

		s.install(t, append(append([]string{"web"}, patient()...), "--listen", "http=tcp://"+address,
			"--protocol", "none", "--ready", "200ms", "--bake", "200ms", "--", plain, "10ms")...)
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		for n := range 3 {
			s.Systemctl(t, "reload", "web.service")
			s.active(t, n+2)
		}
		served(t, s, run)

		s.WriteUnit(t, "web.service", before)
		s.Reload(t)
		s.Systemctl(t, "restart", "web.service")
		s.unharmed(t, run)
		s.Systemctl(t, "stop", "web.socket", "web.service")
	})
}

// TestTableflipInAUnit: a program that upgrades itself by tableflip runs as a
// unit, without being built anew.
func TestTableflipInAUnit(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := site{m}
		const flip = "/usr/local/bin/flip"
		run(t, m.Command(t.Context(), "install", "-D", m.Build(t, "../../examples/tableflip"), flip))
		s.install(t, append(append([]string{"web"}, patient()...), "--listen", "http=tcp://"+address,
			"--protocol", "tableflip", "--bake", "200ms", "--", flip, "-listen", address)...)
		s.Systemctl(t, "start", "web.socket", "web.service")
		s.active(t, 1)
		traffic := s.only(t, fresh())
		for n := range 3 {
			s.Systemctl(t, "reload", "web.service")
			s.active(t, n+2)
		}
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		s.unharmed(t, traffic)
		s.stop(t, "web.socket")
	})
}
