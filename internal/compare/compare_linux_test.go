package compare

import (
	"os"
	"strconv"
	"testing"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/internal/systemdtest"
)

const serverPackage = "example.com/supervisor/internal/compare/server"

// peers are all that are compared, this project first.
func peers(tb testing.TB, m *systemdtest.Machine) []peer {
	tb.Helper()
	supervisor, server := rig.Build(tb, rig.Command), rig.Build(tb, serverPackage)
	inside := ""
	if m != nil {
		inside = m.Build(tb, serverPackage)
	}
	return []peer{
		ours{supervisor: supervisor, server: server},
		ours{supervisor: supervisor, server: server, watched: true},
		tableflip{server},
		activation{m, inside},
		reuseport{server},
		nginx(server),
		haproxy(server),
	}
}

// withSystemd calls f once, with a systemd of Debian 13 where that can be had.
func withSystemd(t *testing.T, f func(*testing.T, *systemdtest.Machine)) {
	t.Helper()
	t.Setenv("SYSTEMD_TEST_SUITES", "trixie")
	called := false
	systemdtest.Each(t, func(t *testing.T, m *systemdtest.Machine) {
		called = true
		f(t, m)
	})
	if !called && !t.Failed() {
		f(t, nil)
	}
}

// TestPeersAreUpgraded tries each peer shortly: each has to serve its next version,
// and this project has to lose nothing, not by a version that stops accepting either.
func TestPeersAreUpgraded(t *testing.T) {
	withSystemd(t, func(t *testing.T, m *systemdtest.Machine) {
		all := peers(t, m)
		t.Run("bad version", func(t *testing.T) { undoes(t, watchedOf(all)) })
		for _, p := range all {
			t.Run(p.title(), func(t *testing.T) {
				if why := p.missing(); why != "" {
					t.Skip("skipped: " + why)
				}
				o, is := p.(ours)
				times := 1
				if is && !o.watched {
					times = 3 // so that there are drains at the same time
				}
				seen := newTally()
				light().upgrades(t, p, times, seen)
				if failed, requests := seen.failed(); is && failed > 0 {
					t.Errorf("%d of %d requests failed", failed, requests)
				}
			})
		}
	})
}

// undoes tries how bad versions are offered: one that stops accepting is undone.
func undoes(t *testing.T, p peer) {
	for _, f := range faults() {
		if f.name != "stalls" {
			continue
		}
		o := light().brief().offer(t, p, f, 1)
		if o.lost > 0 || o.serves != "v1" || len(o.trips) != 1 || len(o.resumed) != 1 || o.said.status != 12 {
			t.Errorf("%+v", o)
		}
	}
}

// TestComparison is "make compare": it compares at full length and writes the page
// that SUPERVISOR_COMPARE names.
func TestComparison(t *testing.T) {
	path := os.Getenv("SUPERVISOR_COMPARE")
	if path == "" {
		t.Skip("takes long: run make compare")
	}
	upgrades, rate := setting(t, "SUPERVISOR_COMPARE_UPGRADES", 25), setting(t, "SUPERVISOR_COMPARE_RATE", 1000)
	withSystemd(t, func(t *testing.T, m *systemdtest.Machine) {
		r := measure(t, peers(t, m), full(float64(rate)), upgrades, min(upgrades, 4))
		text, err := r.document()
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range r.peers {
			if failed, requests := r.tallies[who.title()].failed(); failed > 0 {
				if _, is := who.(ours); is {
					t.Errorf("%s: %d of %d requests failed", who.title(), failed, requests)
				}
			}
		}
	})
}

// setting is a whole number of the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, which is no number from 1", name, text)
	}
	return n
}
