package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/systemd"
)

// unitFolder is where the units are that an operator installs.
const unitFolder = "../../systemd"

// TestUnitFilesOfTheExample: systemd/web.* are what the command prints.
func TestUnitFilesOfTheExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, complaints strings.Builder
	root := newRootCommand(environment{out: &out, err: &complaints, getenv: func(string) string { return "" }})
	root.SetArgs([]string{"unit", "web", "--binary", "/usr/local/bin/supervisor", "--output", dir,
		"--listen", "http=tcp://:80", "--", "/srv/web/current/web"})
	if status := exitStatus(root.Execute(), &complaints); status != exitOK {
		t.Fatalf("status %d: %s", status, complaints.String())
	}
	for _, name := range []string{"web.socket", "web.service"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sameUnit(t, name, string(text))
	}
}

// TestUnitFilesOfTheTemplate: supervisor@.* are made by the same code.
func TestUnitFilesOfTheTemplate(t *testing.T) {
	t.Parallel()
	c := config.Default()
	files, err := systemd.Unit{
		Name: "supervisor", Template: true, Command: "/usr/local/bin/supervisor", User: "%i",
		Origin:  "one service for each /etc/supervisor/NAME.toml, run as user NAME; systemctl edit supervisor@NAME.socket says where it listens",
		Run:     []string{"--name=%i", "--config=/etc/supervisor/%i.toml"},
		Sockets: []systemd.Socket{{Name: "http", Listen: "ListenStream", Address: "/run/supervisor-%i.sock", Mode: 0o660}},
		Ready:   time.Duration(c.ReadyTimeout), Upgrade: longestUpgrade(c), Stop: longestStop(c),
	}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		sameUnit(t, f.Name, f.Text)
	}
}

func sameUnit(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(unitFolder, name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // units are read by everybody
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update); got:\n%s", path, got)
	}
}

func TestListenersAsSocketUnits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listener string
		want     systemd.Socket
	}{
		{"a=tcp://:80", systemd.Socket{Listen: "ListenStream", Address: "[::]:80"}},
		{"a=tcp://0.0.0.0:80", systemd.Socket{Listen: "ListenStream", Address: "0.0.0.0:80"}},
		{"a=tcp4://:80?backlog=9", systemd.Socket{Listen: "ListenStream", Address: "0.0.0.0:80", Backlog: 9}},
		{"a=tcp6://:80", systemd.Socket{Listen: "ListenStream", Address: "[::]:80", V6Only: true}},
		{"a=tcp6://[::1]:80", systemd.Socket{Listen: "ListenStream", Address: "[::1]:80"}},
		{"a=tcp://[fe80::1%eth0]:80", systemd.Socket{Listen: "ListenStream", Address: "[fe80::1]:80%eth0"}},
		{"a=udp://127.0.0.1:53", systemd.Socket{Listen: "ListenDatagram", Address: "127.0.0.1:53"}},
		{"a=unix:///run/a%20b.sock?mode=0660", systemd.Socket{Listen: "ListenStream", Address: "/run/a b.sock", Mode: 0o660}},
		{"a=unix://@web", systemd.Socket{Listen: "ListenStream", Address: "@web"}},
		{"a=unixpacket:///run/a", systemd.Socket{Listen: "ListenSequentialPacket", Address: "/run/a"}},
		{"a=unixgram:///run/a", systemd.Socket{Listen: "ListenDatagram", Address: "/run/a"}},
	} {
		c.want.Name = "a"
		got, err := socketsOf([]string{c.listener})
		if err != nil || !slices.Equal(got, []systemd.Socket{c.want}) {
			t.Errorf("%s: %+v, %v; want %+v", c.listener, got, err, c.want)
		}
	}
}

func TestListenersThatCannotBeSocketUnits(t *testing.T) {
	t.Parallel()
	for listener, want := range map[string]string{
		"a=tcp://localhost:80": `listener a: "localhost" is not an IP address; systemd knows no names of hosts`,
		"a=tcp://:http":        `port "http" is not a number`,
		"a=tcp://:0":           "systemd cannot choose a port; give one, or let the supervisor listen with --no-socket",
		"a=tcp":                "it has no network",
	} {
		if got, err := socketsOf([]string{listener}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want an error with %q", listener, got, err, want)
		}
	}
}

func TestLowPortsNeedACapability(t *testing.T) {
	t.Parallel()
	for listener, want := range map[string]bool{
		"a=tcp://:80": true, "a=udp://127.0.0.1:1023": true, "a=tcp://:1024": false, "a=tcp://:0": false, "a=unix:///run/a": false,
	} {
		if got := hasLowPort([]string{listener}); got != want {
			t.Errorf("%s: %v", listener, got)
		}
	}
}

func TestTimesOfAUnitDoNotOverflow(t *testing.T) {
	t.Parallel()
	c := config.Default()
	if got := longestStop(c); got != 45*time.Second {
		t.Errorf("stop takes %v", got)
	}
	if got := longestUpgrade(c); got != 49*time.Second {
		t.Errorf("an upgrade takes %v", got)
	}
	c.DrainTimeout = config.Duration(1<<63 - 1)
	if got := longestStop(c); got < 0 || got > 200*365*24*time.Hour {
		t.Errorf("an endless drain takes %v", got)
	}
}
