package compare

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
)

// A proxy stands before the service and is told by a new configuration which
// process is the service.
type proxy struct {
	name, program string
	// words is how it runs in the foreground, $DIR being the folder.
	words []string
	// check is the command that looks at its configuration.
	check []string
	// reload and stop are the signals for it.
	reload, graceful syscall.Signal
	// file and configuration are what it reads. In it $ADDRESS is where clients
	// come, $BACKEND where the service is.
	file, configuration string
	number              []string // the command that prints its version
	remarks             string
	server              string
}

func (p proxy) title() string { return p.name }
func (p proxy) about() string { return p.remarks }

func (p proxy) missing() string {
	if _, err := exec.LookPath(p.program); err != nil {
		return fmt.Sprintf("%s is not installed", p.program)
	}
	return ""
}

func (p proxy) version(tb testing.TB) string {
	first, _, _ := strings.Cut(output(tb, p.number...), "\n")
	for _, word := range strings.FieldsFunc(first, func(r rune) bool { return r == ' ' || r == '/' }) {
		if word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return first
}

// proxied is a deployment behind a proxy.
type proxied struct {
	*site
	proxy
	front, backend *process
}

func (p proxy) begin(tb testing.TB, first release) deployment {
	tb.Helper()
	d := &proxied{site: newSite(tb, p.server), proxy: p}
	backend, at := d.next(first)
	if backend == nil {
		text, _ := os.ReadFile(d.log())
		tb.Fatalf("the service does not get ready:\n%s", text)
	}
	d.backend = backend
	d.configure(at, "")
	d.front = d.start(d.expand(at, p.words)...)
	if !poll(limit, func() bool { return well(d.at) || !d.front.alive() }) || !d.front.alive() {
		text, _ := os.ReadFile(d.log())
		tb.Fatalf("%s does not get ready:\n%s", p.name, text)
	}
	return d
}

// next starts a process of a version at an address of its own and waits until it is
// well; nil if it does not get so.
func (d *proxied) next(r release) (*process, string) {
	d.Helper()
	d.release(r)
	at := rig.FreeAddress(d)
	p := d.start(d.site.server, "-by", "plain", "-settings", d.settings(), "-listen", at)
	if poll(patience, func() bool { return !p.alive() || well(at) }) && p.alive() {
		return p, at
	}
	p.kill()
	return nil, ""
}

// well reports whether a service says so.
func well(address string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/health")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// configure writes the proxy's configuration, with more of it before the rest.
func (d *proxied) configure(backend, more string) {
	d.write(d.file, more+d.expand(backend, []string{d.configuration})[0])
}

func (d *proxied) expand(backend string, words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strings.NewReplacer("$ADDRESS", d.at, "$BACKEND", backend, "$DIR", d.dir).Replace(w)
	}
	return all
}

// deploy starts the new version beside the old one, tells the proxy, and ends the
// old one when the proxy has no processes any more that could use it.
func (d *proxied) deploy(r release) said {
	d.Helper()
	next, at := d.next(r)
	if next == nil {
		return said{status: 1, words: "the new version does not get well"}
	}
	was, err := os.ReadFile(filepath.Join(d.dir, d.file))
	if err != nil {
		d.Fatal(err)
	}
	more := ""
	if r.broken {
		more = "mistake 1;\n"
	}
	d.configure(at, more)
	if s := d.command(d.expand(at, d.check)...); s.status != 0 {
		d.write(d.file, string(was))
		next.stop(syscall.SIGTERM)
		return s
	}
	had := children(d.front.handle.Pid)
	d.front.signal(d.reload)
	if !poll(limit, func() bool { return replaced(d.front.handle.Pid, had) }) {
		d.Fatalf("%s does not reload", d.name)
	}
	d.backend.stop(syscall.SIGTERM)
	d.backend = next
	return said{}
}

func (d *proxied) settle() {}

func (d *proxied) end() {
	d.front.stop(d.graceful)
	d.backend.kill() // one that is stuck by intent would be waited for
}
