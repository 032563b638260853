package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
		`queue = ["*:off"]`, `settle = "20ms"`, `drain-timeout = "30s"`, `stop-grace = "500ms"`,
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
