package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// A renewed is a lineage with a configuration file, which a test writes anew.
type renewed struct {
	*lineage
	file string
}

// configured begins a lineage that is told all but its names by a file.
func configured(t *testing.T, lines ...string) *renewed {
	t.Helper()
	l := conceive(t, nil)
	r := &renewed{lineage: l, file: filepath.Join(t.TempDir(), "web.toml")}
	l.args = []string{"run", "--name", "web", "--run-dir", l.runDir(), "--log-level", "debug", "--config", r.file}
	r.write(lines...)
	l.start()
	return r
}

// write writes the file anew; $DIR is the directory of the lineage.
func (r *renewed) write(lines ...string) {
	r.Helper()
	lines = append([]string{
		`queue = ["*:off"]`, `drain-timeout = "30s"`, `stop-grace = "500ms"`,
	}, lines...)
	text := strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "$DIR", r.dir)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// asks asks for an upgrade or a rollback that names no program.
func (r *renewed) asks(kind upgrade.Kind) upgrade.Report {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 2*patience)
	defer cancel()
	report, err := r.client.Attempt(ctx, kind, upgrade.Request{WaitDrain: true}, func([]byte, control.Line) {})
	if err != nil {
		r.Fatal(err)
	}
	return report
}

// becomes expects an upgrade to what the file says by now, and that verdict.
func (r *renewed) becomes(want upgrade.Verdict) upgrade.Report {
	r.Helper()
	report := r.asks(upgrade.KindUpgrade)
	if report.Verdict != want {
		r.Fatalf("verdict %s (%s), want %s", report.Verdict, report.Reason, want)
	}
	return report
}

// listens expects that the status shows listeners by these names, in any order.
func (r *renewed) listens(names ...string) map[string]string {
	r.Helper()
	at := map[string]string{}
	for _, l := range r.serves().Listeners {
		at[l.Name] = l.Address
	}
	if len(at) != len(names) {
		r.Errorf("the listeners are %v, want %v", at, names)
	}
	for _, name := range names {
		if at[name] == "" {
			r.Errorf("there is no listener %s: %v", name, at)
		}
	}
	return at
}

// refuses expects that nobody listens at an address any more.
func (r *renewed) refuses(network, address string) {
	r.Helper()
	conn, err := net.Dial(network, address)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
		r.Errorf("%s: %v, want that it is refused", address, err)
	}
}

// list is the setting listen.
func list(specs ...string) string {
	return fmt.Sprintf("listen = [%q", specs[0]) + strings.Join(append([]string{""}, quoted(specs[1:])...), ", ") + "]"
}

func quoted(words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = fmt.Sprintf("%q", w)
	}
	return all
}

// TestListenersComeAndGoWithUpgrades adds one of each kind and takes one away, with
// traffic at all that stay.
func TestListenersComeAndGoWithUpgrades(t *testing.T) {
	t.Parallel()
	second := "127.0.0.1:" + freePort(t)
	http, tcp, local, udp := "http=tcp://127.0.0.1:0", "second=tcp://"+second, "local=unix://$DIR/l.sock", "udp=udp://127.0.0.1:0"
	program, bake := `program = ["many"]`, `bake = "100ms"`
	r := configured(t, program, bake, list(http))
	at := r.listens("http")["http"]
	run := r.traffic("http://" + at)
	r.answered(run, 20)

	r.write(program, bake, list(http, tcp))
	r.becomes(upgrade.Committed)
	r.listens("http", "second")
	more := r.traffic("http://" + second)
	r.answered(more, 20)

	r.write(program, bake, list(http, tcp, local))
	r.becomes(upgrade.Committed)
	r.listens("http", "second", "local")
	unix := r.traffic("unix://" + r.dir + "/l.sock")
	r.answered(unix, 20)

	r.write(program, bake, list(udp, http, tcp, local))
	r.becomes(upgrade.Committed)
	datagrams := sendDatagrams(t, r.listens("udp", "http", "second", "local")["udp"])

	r.noneFailed(more)
	r.write(program, bake, list(udp, http, local))
	if report := r.becomes(upgrade.Committed); report.Configuration != "no more: "+tcp {
		t.Errorf("the report says of the configuration %q", report.Configuration)
	}
	r.listens("udp", "http", "local")
	r.refuses("tcp", second)

	r.noneFailed(unix)
	if lost, all := datagrams(); lost > 0 || all == 0 {
		t.Errorf("%d of %d datagrams were not answered", lost, all)
	}
	r.write(program, bake, list(http))
	r.becomes(upgrade.Committed)
	if now := r.listens("http")["http"]; now != at {
		t.Errorf("http is at %s, and was at %s", now, at)
	}
	r.refuses("unix", r.dir+"/l.sock")
	if _, err := os.Lstat(r.dir + "/l.sock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of the Unix socket: %v", err)
	}
	r.noneFailed(run)
	r.stop()
}

// TestWhatIsNotCommittedLeavesTheListenersAsTheyWere offers a bad program with one
// more listener and one less, then takes a good one back in its bake.
func TestWhatIsNotCommittedLeavesTheListenersAsTheyWere(t *testing.T) {
	t.Parallel()
	added, removed := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	before := list("http=tcp://127.0.0.1:0", "removed=tcp://"+removed)
	after := list("http=tcp://127.0.0.1:0", "added=tcp://"+added)
	r := configured(t, `program = ["many"]`, before)
	run := r.traffic("http://"+r.listens("http", "removed")["http"], "http://"+removed)
	r.answered(run, 20)

	r.write(`program = ["many", "-exit", "3"]`, after)
	r.becomes(upgrade.Aborted)
	r.listens("http", "removed")
	r.refuses("tcp", added)

	r.write(`program = ["many"]`, `bake = "1h"`, after)
	asked := make(chan upgrade.Report, 1)
	go func() { asked <- r.asks(upgrade.KindUpgrade) }() // joined below
	r.await("the bake", inPhase(upgrade.PhaseBake))
	if back := r.asks(upgrade.KindRollback); back.Verdict != upgrade.RolledBack && back.Verdict != upgrade.Committed {
		t.Errorf("to take it back: %s (%s)", back.Verdict, back.Reason)
	}
	if report := <-asked; report.Verdict != upgrade.RolledBack {
		t.Errorf("verdict %s (%s)", report.Verdict, report.Reason)
	}
	r.listens("http", "removed")
	r.refuses("tcp", added)

	r.write(`program = ["many"]`, `colour = "red"`, after)
	if report := r.becomes(upgrade.Refused); !strings.Contains(report.Reason, "web.toml:5:1: colour: unknown key") {
		t.Errorf("refused with %q, want the line", report.Reason)
	}
	r.answered(run, 20)
	r.noneFailed(run)
	r.stop()
}

// TestRollbackGoesBackToTheListenersOfItsRelease: what an upgrade closed is opened
// again, also after a reexec; what cannot be is a reason to refuse.
func TestRollbackGoesBackToTheListenersOfItsRelease(t *testing.T) {
	t.Parallel()
	removed := "127.0.0.1:" + freePort(t)
	http := "http=tcp://127.0.0.1:0"
	r := configured(t, `program = ["many"]`, `bake = "50ms"`, list(http, "removed=tcp://"+removed))
	at := r.listens("http", "removed")["http"]
	r.write(`program = ["many"]`, `bake = "50ms"`, `metrics = "127.0.0.1:0"`, list(http))
	if report := r.becomes(upgrade.Committed); !strings.Contains(report.Configuration, "needs a restart: metrics") {
		t.Errorf("the report says of the configuration %q", report.Configuration)
	}
	r.listens("http")
	if _, err := r.client.Reexec(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	r.listens("http")

	other, err := net.Listen("tcp", removed)
	if err != nil {
		t.Fatal(err)
	}
	report := r.asks(upgrade.KindRollback)
	if report.Verdict != upgrade.Refused || !strings.Contains(report.Reason, "in use") {
		t.Errorf("with its port taken: %s (%s)", report.Verdict, report.Reason)
	}
	other.Close()
	if report = r.asks(upgrade.KindRollback); report.Verdict != upgrade.Committed {
		t.Errorf("verdict %s (%s)", report.Verdict, report.Reason)
	}
	if now := r.listens("http", "removed")["http"]; now != at {
		t.Errorf("http is at %s, and was at %s", now, at)
	}
	r.stop()
}

// TestKilledWhileListenersChange kills the supervisor in the bake of an upgrade that
// moves a listener, and once more when it has been committed.
func TestKilledWhileListenersChange(t *testing.T) {
	t.Parallel()
	was, is := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	http := "http=tcp://127.0.0.1:0"
	r := configured(t, `program = ["many"]`, `bake = "1h"`, list(http, "moved=tcp://"+was))
	run := r.traffic("http://" + r.listens("http", "moved")["http"])
	r.answered(run, 20)
	r.write(`program = ["many"]`, `bake = "1h"`, list(http, "moved=tcp://"+is))
	asked := make(chan upgrade.Report, 1)
	go func() { asked <- r.asks(upgrade.KindUpgrade) }() // joined below
	r.await("the bake", inPhase(upgrade.PhaseBake))
	r.succeed()
	if report := <-asked; report.Verdict != upgrade.RolledBack {
		t.Errorf("verdict %s (%s)", report.Verdict, report.Reason)
	}
	if at := r.listens("http", "moved")["moved"]; at != was {
		t.Errorf("moved is at %s, want %s", at, was)
	}
	r.refuses("tcp", is)
	r.write(`program = ["many"]`, `bake = "50ms"`, list(http, "moved=tcp://"+is))
	r.becomes(upgrade.Committed)
	r.succeed()
	if at := r.listens("http", "moved")["moved"]; at != is {
		t.Errorf("moved is at %s, want %s", at, is)
	}
	r.refuses("tcp", was)
	r.answered(run, 20)
	r.noneFailed(run)
	r.stop()
}

// TestWhoWaitsAtAListenerThatGoesIsServed: who connects during the bake, when nobody
// accepts there, is served by the old generation at the commit.
func TestWhoWaitsAtAListenerThatGoesIsServed(t *testing.T) {
	t.Parallel()
	goes := "127.0.0.1:" + freePort(t)
	r := configured(t, `program = ["many"]`, list("http=tcp://127.0.0.1:0", "goes=tcp://"+goes))
	r.listens("http", "goes")
	r.write(`program = ["many"]`, `bake = "300ms"`, list("http=tcp://127.0.0.1:0"))
	asked := make(chan upgrade.Report, 1)
	go func() { asked <- r.asks(upgrade.KindUpgrade) }() // joined below
	r.await("the bake", inPhase(upgrade.PhaseBake))
	for i := range 20 {
		conn, err := net.Dial("tcp", goes)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		defer func() {
			if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "hello") {
				t.Errorf("client %d is answered %q, %v", i, answer, err)
			}
		}()
	}
	if report := <-asked; report.Verdict != upgrade.Committed {
		t.Errorf("verdict %s (%s)", report.Verdict, report.Reason)
	}
	r.refuses("tcp", goes)
	r.stop()
}

// TestDescriptorsStayFewAsListenersComeAndGo upgrades again and again, every time
// with other listeners.
func TestDescriptorsStayFewAsListenersComeAndGo(t *testing.T) {
	t.Parallel()
	r := configured(t, `program = ["many"]`, `bake = "0s"`, list("http=tcp://127.0.0.1:0"))
	change := func(i int) {
		r.write(`program = ["many"]`, `bake = "0s"`, `settle = "0s"`, list("http=tcp://127.0.0.1:0", fmt.Sprintf("l%d=unix://$DIR/%d.sock", i, i)))
		r.becomes(upgrade.Committed)
		r.serves()
	}
	r.serves()
	for i := range 3 {
		change(i)
	}
	before := r.descriptors()
	const times = 20
	for i := range times {
		change(100 + i)
	}
	if after := r.descriptors(); after > before+2 {
		t.Errorf("%d descriptors after %d upgrades, and %d before", after, times, before)
	}
	r.stop()
}

// descriptors is how many the supervisor has open.
func (r *renewed) descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.cmd.Process.Pid))
	if err != nil {
		r.Fatal(err)
	}
	return len(entries)
}

// TestForeignProgramsGetTheListenersOfTheirRelease: in the order of the
// configuration, as descriptors 3, 4, ...
func TestForeignProgramsGetTheListenersOfTheirRelease(t *testing.T) {
	t.Parallel()
	program := `program = ["sh", "-c", "echo it has $LISTEN_FDS: $LISTEN_FDNAMES; exec sleep 1000"]`
	lines := []string{program, `protocol = "listen-fds"`, `ready = "50ms"`, `bake = "50ms"`}
	r := configured(t, append(lines, list("b=tcp://127.0.0.1:0", "a=tcp://127.0.0.1:0"))...)
	r.shims = true
	r.listens("a", "b")
	r.write(append(lines, list("c=tcp://127.0.0.1:0", "b=tcp://127.0.0.1:0", "a=tcp://127.0.0.1:0"))...)
	r.becomes(upgrade.Committed)
	r.write(append(lines, list("a=tcp://127.0.0.1:0", "c=tcp://127.0.0.1:0"))...)
	r.becomes(upgrade.Committed)
	r.listens("a", "c")
	for _, want := range []string{"it has 2: b:a\n", "it has 3: c:b:a\n", "it has 2: a:c\n"} {
		if log := r.logged(); !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	r.stop()
}
