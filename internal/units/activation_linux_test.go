package units

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// fourListeners is a site with two listeners of TCP, a Unix socket and one of
// UDP, each from a socket unit of its own.
func fourListeners(t *testing.T, m machine) site {
	t.Helper()
	s := site{m}
	const program = "/usr/local/bin/four"
	run(t, m.Command(t.Context(), "install", "-D", m.Build(t, "./testdata/four"), program))
	s.release(t, "exec "+program)
	s.install(t, slices.Concat([]string{"web"}, patient(), []string{"--listen", "http=tcp://" + address, "--listen", "admin=tcp://[::1]:81", "--listen", "local=unix:///run/web.sock?mode=666",
		"--listen", "ping=udp://127.0.0.1:82", "--bake", "200ms", "--", current})...)
	return s
}

var fourSockets = []string{"web.socket", "web-admin.socket", "web-local.socket", "web-ping.socket"}

// TestSystemdGivesListenersByName: each is answered by whoever has its name,
// through upgrades and restarts.
func TestSystemdGivesListenersByName(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := fourListeners(t, m)
		s.Systemctl(t, append([]string{"start"}, fourSockets...)...)
		// The first connection starts the service.
		http := load.Traffic{Pattern: load.NewConnection, Rate: 50}
		admin, local := http, http
		http.Name, admin.Name, admin.Target, local.Name, local.Target = "http", "admin", "http://[::1]:81", "local", "unix:///run/web.sock"
		traffic := []load.Traffic{http, admin, local}
		for _, kept := range traffic {
			kept.Name, kept.Pattern, kept.Clients, kept.Rate = kept.Name+", kept", load.KeepAlive, 4, 20
			traffic = append(traffic, kept)
		}
		run := s.only(t, traffic...)
		pings := s.ping(t, "127.0.0.1:82")
		s.active(t, 1)
		served(t, s, run)
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		served(t, s, run)
		s.Reload(t) // may change the order in which they are given
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		r := s.unharmed(t, run)
		for _, traffic := range r.Traffic {
			if traffic.OK < 20 || traffic.Generations["2"] == 0 {
				t.Errorf("%s: %d answers, of the generations %v", traffic.Name, traffic.OK, traffic.Generations)
			}
		}
		pings()
		s.stop(t, fourSockets...)
	})
}

// ping sends packets one after the other until the end is called, which
// expects that each was answered.
func (s site) ping(t *testing.T, address string) (end func()) {
	t.Helper()
	conn, err := s.Dial(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var pinging sync.WaitGroup
	pinging.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		answer := make([]byte, 100)
		for n := 0; ; n++ {
			select {
			case <-stop:
				t.Logf("systemd %d: %d packets answered", s.Version, n)
				return
			case <-tick.C:
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Write([]byte("ping")); err != nil {
				t.Errorf("packet %d: %v", n, err)
				return
			}
			if length, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:length]), "ping of generation ") {
				t.Errorf("packet %d: %q, %v", n, answer[:length], err)
				return
			}
		}
	})
	end = sync.OnceFunc(func() { close(stop); pinging.Wait(); _ = conn.Close() })
	t.Cleanup(end)
	return end
}

// TestListenersAreTakenStrictly: where units and settings do not match the
// service does not start, and the journal has the line to mend.
func TestListenersAreTakenStrictly(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		s := fourListeners(t, m)
		text, err := os.ReadFile(m.Path(folder + "/web.service"))
		if err != nil {
			t.Fatal(err)
		}
		start := regexp.MustCompile(`(?m)^ExecStart=.*$`).FindString(string(text))
		for _, c := range []struct{ name, unit, text, want string }{
			{"missing", "web.service", "[Service]\nExecStart=\n" + strings.Replace(start, " -- ", " --listen=ghost=systemd -- ", 1) + "\n",
				`listener "ghost" is missing \(systemd passed .*"http".*\): write FileDescriptorName=ghost in the \[Socket\] section of its socket unit`},
			{"surplus", "web.service", "[Service]\nExecStart=\n" + strings.Replace(start, " --listen=local=systemd", "", 1) + "\n",
				`systemd passed a listener "local" that nobody asked for`},
			{"renamed", "web-admin.socket", "[Socket]\nFileDescriptorName=\n",
				`listener "admin" is missing \(systemd passed .*"web-admin.socket".*\): write FileDescriptorName=admin`},
			{"twice", "web-admin.socket", "[Socket]\nFileDescriptorName=http\n", `descriptor \d+ \("http"\): descriptor \d+ has that name too: .*write one .socket unit for each socket`},
		} {
			t.Run(c.name, func(t *testing.T) {
				m.WriteUnit(t, c.unit+".d/bad.conf", c.text)
				m.Reload(t)
				// Without waiting: it is tried again and again.
				m.Systemctl(t, append([]string{"start", "--no-block", "web.service"}, fourSockets...)...)
				want := regexp.MustCompile(c.want)
				m.Await(t, c.want, patience, func() bool { return want.MatchString(m.Journal(t, "--unit=web.service", "--output=cat")) })
				m.Systemctl(t, append([]string{"stop", "web.service"}, fourSockets...)...)
				if err := os.RemoveAll(m.Path(folder + "/" + c.unit + ".d")); err != nil {
					t.Error(err)
				}
			})
		}
		m.Reload(t)
		s.Systemctl(t, append([]string{"start", "web.service"}, fourSockets...)...)
		s.active(t, 1)
		s.stop(t, fourSockets...)
	})
}
