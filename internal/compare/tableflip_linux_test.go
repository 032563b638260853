package compare

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// tableflip is a service that upgrades itself by github.com/cloudflare/tableflip:
// Example_httpShutdown of its documentation, with the process's file that its
// README gives to systemd, and its way to reload.
type tableflip struct{ server string }

func (tableflip) title() string   { return "tableflip" }
func (tableflip) missing() string { return "" }

func (tableflip) version(tb testing.TB) string {
	return output(tb, "go", "list", "-m", "-f", "{{.Version}}", "github.com/cloudflare/tableflip")
}

func (tableflip) about() string {
	return "The service as in the library's `Example_httpShutdown`: `Upgrade` at SIGHUP, `http.Server.Shutdown` after `Exit`; " +
		"deployed by `kill -HUP`, as its README has it for `ExecReload=`, which returns at once and does not know how it went. " +
		"The listener is inherited and never closed, so that nothing is lost in its queue. What fails, fails by `Shutdown`: it closes idle " +
		"connections while a request may be on its way (reset, eof), and from its begin on the server closes any connection whose next or first " +
		"request it has just read, without an answer (eof: `conn.serve` of net/http looks at `shuttingDown` between reading a request and serving " +
		"it). When the new version is ready the old one goes, so that a fault after that leaves nobody; and no service manager was there to start " +
		"the bad version again."
}

type flipping struct {
	*site
	now *process
}

func (p tableflip) begin(tb testing.TB, first release) deployment {
	tb.Helper()
	d := &flipping{site: newSite(tb, p.server)}
	d.release(first)
	d.now = d.start(p.server, "-by", "tableflip", "-settings", d.settings(), "-listen", d.at, "-pid-file", d.pidFile(), "-patience", patience.String())
	d.Cleanup(d.sweep)
	d.ready(d.now, d.pidFile())
	return d
}

func (s *site) pidFile() string { return filepath.Join(s.dir, "pid") }

// ready waits until the process has written its number to the file.
func (s *site) ready(p *process, file string) {
	s.Helper()
	if !s.writes(p, file) {
		text, _ := os.ReadFile(s.log())
		s.Fatalf("the service does not get ready:\n%s", text)
	}
}

// writes waits until the process has written its number to the file, and reports
// whether it has within the patience.
func (s *site) writes(p *process, file string) bool {
	return poll(patience, func() bool { return number(file) == p.handle.Pid || !p.alive() }) && p.alive()
}

// number is what a file has; 0 if it has none.
func number(file string) int {
	text, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func (d *flipping) deploy(r release) said {
	d.Helper()
	d.misconfigured(r)
	return d.command("sh", "-c", "kill -HUP $(cat "+d.pidFile()+")")
}

// settle waits until there is one process, whichever: while two live, there is no
// next upgrade.
func (d *flipping) settle() {
	d.Helper()
	if !poll(limit, d.alone) {
		d.Fatal("the version before does not end")
	}
}

// alone reports whether one process is left, and knows it from then on. That of a
// version before becomes a child of the test when its parent has ended.
func (d *flipping) alone() bool {
	if d.now.alive() {
		return len(children(d.now.handle.Pid)) == 0 && number(d.pidFile()) == d.now.handle.Pid
	}
	if pid := number(d.pidFile()); pid != d.now.handle.Pid && isChild(pid) {
		if handle, err := os.FindProcess(pid); err == nil {
			d.now = adopt(d, handle)
		}
	}
	return true
}

// isChild reports whether a process lives, or is a zombie, as a child of this one.
func isChild(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	return err == nil && ok && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
}

func (d *flipping) end() {
	d.settle()
	d.now.stop(syscall.SIGTERM)
}

// sweep ends what a test that has failed leaves.
func (d *flipping) sweep() {
	if pid := number(d.pidFile()); pid != 0 && isChild(pid) {
		if handle, err := os.FindProcess(pid); err == nil {
			_ = handle.Kill()
			_, _ = handle.Wait()
		}
	}
}
