package compare

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
)

// A release is a version of the service: the settings that server reads.
type release struct {
	Version   string `json:"version"`
	StartUpMS int    `json:"start_up_ms"`
	Fault     string `json:"fault,omitempty"`
	Trigger   string `json:"trigger,omitempty"`

	// broken tells that the release comes with a mistake in the peer's own
	// configuration, or in the service's where the peer has none.
	broken bool
}

// A peer is a way of replacing the service.
type peer interface {
	// title is its name in tables.
	title() string
	// about says how it is run here and why it loses what it loses.
	about() string
	// version is that of the peer's program or library.
	version(testing.TB) string
	// missing says why it cannot be run here; "" if it can.
	missing() string
	// begin runs the service in its first version, ready, for the test.
	begin(testing.TB, release) deployment
}

// A deployment is a service that runs. Its methods are for the test's goroutine.
type deployment interface {
	// address is where clients find it.
	address() string
	// dial connects to it, where an ordinary dialer cannot; nil: one can.
	dial() func(ctx context.Context, network, address string) (net.Conn, error)
	// shared is a folder whose files the service can see.
	shared() string
	// netstat is the text of /proc/net/netstat where the service is.
	netstat() string
	// deploy does what a deploy script does, and returns when that would.
	deploy(release) said
	// settle waits until the next version can be deployed.
	settle()
	// end ends the service.
	end()
}

// A said is what the deploy command said.
type said struct {
	// status is its exit status.
	status int
	// words are its last words, if it has any.
	words string
	// beyond is the time from request to verdict beyond the start-up that the peer
	// itself measured; 0 if it does not say.
	beyond time.Duration
	// resumed is the time from the decision to go back until the version before
	// accepted again, as the peer itself measured it; empty if it does not say.
	resumed []time.Duration
}

// patience is how long a version may take to start. It is the same for all, in
// what each has for that.
const patience = 3 * time.Second

// limit is how long anything may take.
const limit = 30 * time.Second

// A site is what all deployments have.
type site struct {
	testing.TB
	dir    string
	server string // the program
	at     string
}

// newSite prepares a folder and an address for the program.
func newSite(tb testing.TB, server string) *site {
	tb.Helper()
	return &site{TB: tb, dir: rig.Folder(tb), server: server, at: rig.FreeAddress(tb)}
}

func (s *site) address() string { return s.at }
func (s *site) shared() string  { return s.dir }

func (s *site) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	return nil
}

func (s *site) netstat() string {
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

func (s *site) settings() string { return filepath.Join(s.dir, "settings") }

// release makes a version the one that is started next.
func (s *site) release(r release) {
	s.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		s.Fatal(err)
	}
	s.write("settings", string(text))
}

// misconfigured is release for a peer that has no configuration of its own: the
// mistake is in the service's.
func (s *site) misconfigured(r release) {
	s.Helper()
	if !r.broken {
		s.release(r)
		return
	}
	s.write("settings", `{"version": "`+r.Version+`", "start_upp_ms": 100}`)
}

// write replaces a file of the folder.
func (s *site) write(name, text string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	err := os.WriteFile(path+".next", []byte(text), 0o644)
	if err == nil {
		err = os.Rename(path+".next", path)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// poll asks until ok, for as long as within, and reports whether it was.
func poll(within time.Duration, ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(within); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			return ok()
		}
	}
	return true
}
