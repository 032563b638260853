package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A site is what a supervisor stands on: a folder with its configuration and its
// releases.
type site struct {
	tb     testing.TB
	world  world
	dir    string
	builds []string // of the program
	base   []string // listeners, as they are at first
}

// config is the file of the configuration.
func (s *site) config() string { return filepath.Join(s.dir, "web.toml") }

// configure writes the configuration.
func (s *site) configure(listen []string, wrong string) {
	s.tb.Helper()
	lines := []string{
		`queue-target = "50ms"`, `queue-interval = "200ms"`, `overlap = "20ms"`, `settle = "30ms"`, `gate-timeout = "1s"`,
		`ready-timeout = "1s"`, `pause-timeout = "500ms"`, `bake = "700ms"`, `drain-timeout = "3s"`, `stop-grace = "300ms"`,
		`backoff-min = "10ms"`, `backoff-max = "50ms"`, `stable-after = "100ms"`,
		fmt.Sprintf("state-dir = %q", filepath.Join(s.dir, "history")),
	}
	if s.world == shellLoop { // catalogue says why
		lines = append(lines, `probe = "/"`, `probe-interval = "20ms"`, `probe-timeout = "500ms"`, `probe-failures = 2`)
	}
	if listen != nil {
		lines = append(lines, fmt.Sprintf("listen = [%q]", strings.Join(listen, `", "`)))
	}
	lines = append(lines, wrong, "")
	text := strings.ReplaceAll(strings.Join(lines, "\n"), `\"`, `"`)
	// By rename: half of a configuration may be a good one, and mean something else.
	next := s.config() + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, s.config())); err != nil {
		s.tb.Fatal(err)
	}
}

// release puts a program in a folder of its own and returns the command that an act
// asks for.
func (s *site) release(a act) []string {
	s.tb.Helper()
	file := filepath.Join(s.dir, "releases", a.note, "web")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.tb.Fatal(err)
	}
	command := []string{file, "-version", a.note}
	if len(a.flags) > 0 && a.flags[0] == missing {
		return command
	}
	build := s.builds[len(a.note)%len(s.builds)]
	if err := os.Link(build, file); err != nil && !errors.Is(err, os.ErrExist) {
		s.tb.Fatal(err)
	}
	return append(command, a.flags...)
}

// holdSocket opens a listener as a socket unit's, which lives as long as the test. It
// blocks: rig.Config says why.
func holdSocket(t testing.TB, address string) *os.File {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	t.Cleanup(func() { _ = f.Close() })
	// SO_REUSEADDR, as systemd has it: a listener that was shut down could not listen
	// again while connections of its address are there (socket(7)).
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}), unix.Listen(fd, 4096)); err != nil {
		t.Fatal(err)
	}
	return f
}
