package compare

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"example.com/supervisor/internal/systemdtest"
)

// activation is a socket unit and a restart of its service: systemd.socket(5) and
// sd_notify(3), in a real systemd of its own.
type activation struct {
	machine *systemdtest.Machine // nil: none can be had
	server  string               // for the machine
}

func (activation) title() string { return "systemd socket, restart" }

func (a activation) missing() string {
	if a.machine == nil {
		return "a systemd could not be run for this"
	}
	return ""
}

func (a activation) version(testing.TB) string { return strconv.Itoa(a.machine.Version) }

func (activation) about() string {
	return "A socket unit and a service of `Type=notify` with `Restart=on-failure` and `TimeoutStartSec=3s`, the service with go-systemd's " +
		"`activation` and `daemon`; deployed by `systemctl daemon-reload && systemctl restart web.service`, in a systemd of its own on the " +
		"same kernel. The socket stays open, and clients wait in its queue while the old version finishes what it has, slow requests and " +
		"streams included, and the new one starts: their latency is that time. What is lost is lost by `http.Server.Shutdown`, as with tableflip. " +
		"A version that does not start or crashes leaves nobody: systemd starts the same " +
		"one again, some times, and then closes the socket too. A unit that it cannot read it does not restart."
}

type unit struct {
	*site
	activation
}

func (a activation) begin(tb testing.TB, first release) deployment {
	tb.Helper()
	d := &unit{site: &site{TB: tb, dir: a.machine.Dir, server: a.server, at: "127.0.0.1:80"}, activation: a}
	tb.Cleanup(d.finish)
	d.release(first)
	d.machine.WriteUnit(tb, "web.socket", "[Socket]\nListenStream="+d.at+"\n")
	d.configure(false)
	d.must("start", "web.socket", "web.service")
	return d
}

// configure writes the service's unit.
func (d *unit) configure(broken bool) {
	program := d.site.server
	if broken {
		program = filepath.Base(program) + "/" // no absolute path
	}
	d.machine.WriteUnit(d, "web.service", "[Unit]\nRequires=web.socket\n\n[Service]\nType=notify\n"+
		"ExecStart="+program+" -by systemd -settings "+d.settings()+"\n"+
		"Restart=on-failure\nTimeoutStartSec="+patience.String()+"\nTimeoutStopSec=20s\n")
	d.must("daemon-reload")
}

func (d *unit) must(words ...string) { d.machine.Systemctl(d, words...) }

func (d *unit) systemctl(words ...string) said {
	return saidBy(d, d.machine.Command(context.WithoutCancel(d.Context()), "systemctl", words...))
}

func (d *unit) deploy(r release) said {
	d.Helper()
	if !r.broken {
		d.release(r)
		return d.systemctl("restart", "web.service")
	}
	d.configure(true)
	s := d.systemctl("restart", "web.service")
	d.configure(false)
	return s
}

func (d *unit) settle() {}

func (d *unit) end() { d.finish() }

// finish ends the units, whatever has become of them.
func (d *unit) finish() {
	_ = d.systemctl("kill", "--signal=KILL", "web.service") // one that is stuck by intent would be waited for
	_ = d.systemctl("stop", "web.socket", "web.service")
	_ = d.systemctl("reset-failed")
}

func (d *unit) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	return d.machine.Dial
}

func (d *unit) netstat() string {
	out, err := d.machine.Command(d.Context(), "cat", "/proc/net/netstat").Output()
	if err != nil {
		d.Fatal(err)
	}
	return string(out)
}
