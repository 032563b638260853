package units

import (
	"context"
	"fmt"
	"io"

	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/systemdtest"
)

const (
	folder     = "/etc/systemd/system"
	supervisor = "/usr/local/bin/supervisor"
	program    = "/usr/local/bin/web"
	patience   = 20 * time.Second
)

func TestMain(m *testing.M) { systemdtest.Main(m) }

// machine is an instance with the supervisor and an example installed.
type machine struct{ *systemdtest.Machine }

func each(t *testing.T, f func(t *testing.T, m machine)) {
	t.Parallel()
	systemdtest.EachParallel(t, func(t *testing.T, m *systemdtest.Machine) { f(t, equip(t, m)) })
}

// equip installs the supervisor and an example.
func equip(t *testing.T, m *systemdtest.Machine) machine {
	t.Helper()
	for pkg, path := range map[string]string{"../../cmd/supervisor": supervisor, "../../examples/http": program} {
		run(t, m.Command(t.Context(), "install", "-D", m.Build(t, pkg), path))
	}
	return machine{m}
}

// run returns what a command wrote to either stream.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// install writes units with the command.
func (m machine) install(t *testing.T, words ...string) {
	t.Helper()
	words = slices.Concat([]string{"unit"}, words[:1], []string{"--user", "daemon", "--output", folder, "--force"}, words[1:])
	run(t, m.Command(t.Context(), supervisor, words...))
	m.Reload(t)
}

// copyUnit installs a file of systemd/ as it is.
func (m machine) copyUnit(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../systemd", from))
	if err != nil {
		t.Fatal(err)
	}
	m.WriteUnit(t, to, string(text))
}

// TestSystemdFindsNothingToSay: all units pass without a word.
func TestSystemdFindsNothingToSay(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		m.install(t, "pair", "--listen", "http=tcp://:80", "--listen", "dns=udp://127.0.0.1:53", "--listen", "admin=unix:///run/pair.sock", "--", program, "50% $HOME \"\\")
		m.install(t, "own", "--no-socket", "--listen", "http=tcp://:80", "--", program)
		m.install(t, "wsgi", "--listen", "http=tcp://:80", "--protocol", "listen-fds", "--", "/usr/bin/gunicorn", "-w", "2", "app:app")
		m.install(t, "proxy", "--listen", "http=tcp://:81", "--protocol", "none", "--stop-schedule", "USR1/20s/TERM", "--", "/usr/sbin/haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg")
		for _, name := range []string{"web.socket", "web.service", "supervisor@.socket", "supervisor@.service"} {
			m.copyUnit(t, name, name)
		}
		if m.Version >= 254 {
			m.install(t, "new", "--systemd", "254", "--notify-reload", "--listen", "http=tcp://:80", "--", program)
			m.copyUnit(t, "drop-in/254.conf", "supervisor@.service.d/254.conf")
			m.copyUnit(t, "drop-in/notify-reload.conf", "supervisor@.service.d/reload.conf")
		}
		m.Reload(t)
		names, err := filepath.Glob(filepath.Join(m.Path(folder), "*.s*t"))
		services, err2 := filepath.Glob(filepath.Join(m.Path(folder), "*.service"))
		if err != nil || err2 != nil || len(services) < 4 {
			t.Fatalf("%q, %v, %v", services, err, err2)
		}
		for _, path := range append(names, services...) {
			name := strings.Replace(filepath.Base(path), "@.", "@x.", 1)
			if out := run(t, m.Command(t.Context(), "systemd-analyze", "verify", "--man=no", name)); out != "" {
				t.Errorf("%s: %s", name, out)
			}
		}
	})
}

// hardenedPlain is how a service that opens its own port 80 is hardened. Package
// net reads net.core.somaxconn, so ProcSubset=pid is not for it.
const hardenedPlain = `[Service]
ExecStart=/usr/local/bin/web
User=daemon
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
`

var overall = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

func (m machine) exposure(t *testing.T, unit string) float64 {
	t.Helper()
	out := run(t, m.Command(t.Context(), "systemd-analyze", "security", "--no-pager", unit))
	found := overall.FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("%s: no figure in %s", unit, out)
	}
	figure, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return figure
}

// TestExposureIsNoWorseThanWithoutASupervisor compares with a hardened service
// that opens the same port itself.
func TestExposureIsNoWorseThanWithoutASupervisor(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		m.WriteUnit(t, "plain.service", hardenedPlain)
		m.install(t, "pair", "--listen", "http=tcp://:80", "--", program)
		m.install(t, "closed", "--no-network", "--listen", "http=tcp://:80", "--", program)
		plain := m.exposure(t, "plain.service")
		for unit, most := range map[string]float64{"pair.service": plain, "closed.service": 1.0} {
			got := m.exposure(t, unit)
			t.Logf("systemd %d: %s %.1f, plain.service %.1f", m.Version, unit, got, plain)
			if got > most {
				t.Errorf("%s: %.1f, more than %.1f", unit, got, most)
			}
		}
	})
}

// TestWordsArriveAsTheyWere: systemd runs the program with the very words that
// were given.
func TestWordsArriveAsTheyWere(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		words := []string{
			"", "a b", "$HOME", "${HOME}", "$$", "%n", "%%", `q"q'x`, `back\slash\`, ";", `\;`, "@x", "tab\there", "ünï",
			"#c", `\n`, `\x41`, "~", "*", "|", "\x01", " lead", "trail ", "'",
		}
		const print = "#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done >/tmp/words\n"
		if err := os.WriteFile(m.Path("/usr/local/bin/print"), []byte(print), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		m.install(t, append([]string{"words", "--binary", "/usr/local/bin/print", "--listen", "http=tcp://:80", "--", program}, words...)...)
		if _, err := m.TrySystemctl(t.Context(), "start", "--no-block", "words.service"); err != nil {
			t.Fatal(err)
		}
		want := "<run><--name=words><--listen=http=systemd><--><" + program + "><" + strings.Join(words, "><") + ">"
		var got []byte
		m.Await(t, "the words", patience, func() bool {
			got, _ = os.ReadFile(m.Path("/var/cache/supervisor/words/words")) // /tmp of the service
			return strings.HasSuffix(string(got), "<'>")
		})
		if string(got) != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// TestHardenedServiceServes: nothing that the unit forbids is needed to serve,
// to upgrade and to stop.
func TestHardenedServiceServes(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		m.install(t, "web", "--no-socket", "--listen", "http=tcp://127.0.0.1:80", "--bake", "200ms", "--", program)
		m.Systemctl(t, "start", "web.service")
		client := &http.Client{Transport: &http.Transport{DialContext: m.Dial, DisableKeepAlives: true}, Timeout: patience}
		m.answers(t, client, "generation 1,")
		m.Systemctl(t, "reload", "web.service")
		m.answers(t, client, "generation 2,")
		m.Systemctl(t, "stop", "web.service")
		if left := m.Processes(t, "web.service"); len(left) > 0 {
			t.Errorf("%d processes are left", len(left))
		}
		if conn, err := m.Dial(t.Context(), "tcp", "127.0.0.1:80"); err == nil {
			conn.Close()
			t.Error("somebody listens after the stop")
		}
	})
}

func (m machine) answers(t *testing.T, client *http.Client, want string) {
	t.Helper()
	m.Await(t, want, patience, func() bool {
		body, err := get(t.Context(), client, "http://127.0.0.1:80/")
		return err == nil && strings.HasPrefix(body, want)
	})
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", answer.Status)
	}
	return string(body), err
}
