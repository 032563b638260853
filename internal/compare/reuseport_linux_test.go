package compare

import (
	"fmt"
	"syscall"
	"testing"
)

// reuseport is http.Server.Shutdown behind an overlap: the new process binds to the
// address beside the old one (SO_REUSEPORT, socket(7)), and when it serves the old
// one gets SIGTERM.
type reuseport struct{ server string }

func (reuseport) title() string   { return "SO_REUSEPORT and Shutdown" }
func (reuseport) missing() string { return "" }

func (reuseport) version(tb testing.TB) string { return output(tb, "go", "env", "GOVERSION") }

func (reuseport) about() string {
	return "A script starts the new process, which binds to the same address with SO_REUSEPORT, waits for its word that it is ready " +
		"(for 3 s), sends SIGTERM to the old one and waits for its end by `http.Server.Shutdown`. What is lost is lost by `Shutdown`, as " +
		"with tableflip, and besides each process has an accept queue of its own: what waits in the old one's when that is closed is reset by the kernel " +
		"(TestClosingAReusePortSocketResetsItsQueue; not if `net.ipv4.tcp_migrate_req` is 1, which it is not by default). Where the old process " +
		"keeps up, hardly anything waits there."
}

type overlapping struct {
	*site
	now   *process
	count int
}

func (p reuseport) begin(tb testing.TB, first release) deployment {
	tb.Helper()
	d := &overlapping{site: newSite(tb, p.server)}
	d.release(first)
	d.now = d.next()
	d.ready(d.now, d.file())
	return d
}

// next starts a process.
func (d *overlapping) next() *process {
	d.count++
	return d.start(d.server, "-by", "reuseport", "-settings", d.settings(), "-listen", d.at, "-pid-file", d.file())
}

func (d *overlapping) file() string { return fmt.Sprintf("%s%d", d.pidFile(), d.count) }

func (d *overlapping) deploy(r release) said {
	d.Helper()
	d.misconfigured(r)
	candidate := d.next()
	if !d.writes(candidate, d.file()) {
		candidate.kill()
		return said{status: 1, words: "the new version does not get ready"}
	}
	d.now.stop(syscall.SIGTERM)
	d.now = candidate
	return said{}
}

func (d *overlapping) settle() {}

func (d *overlapping) end() { d.now.stop(syscall.SIGTERM) }
