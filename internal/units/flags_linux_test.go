package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// choices are the flags of "supervisor unit" that change the units, one of each
// line; "" is none.
func choices() [][]string {
	return [][]string{
		{"", "--no-socket"},
		{"", "--no-network"},
		{"", "--notify-reload"},
		{"", "--systemd=253", "--systemd=254"},
		{"--listen=http=tcp://:80", "--listen=http=tcp6://[::1]:8080?backlog=9", "--listen=http=unix:///run/a%20b.sock?mode=0660", "--listen=http=unix://@web", "--listen=http=udp4://:53"},
		{"", "--listen=more=unixpacket:///run/p.sock"},
	}
}

// combinations are all that can be chosen.
func combinations(of [][]string) [][]string {
	all := [][]string{nil}
	for _, choice := range of {
		var longer [][]string
		for _, words := range all {
			for _, word := range choice {
				next := slices.Clone(words)
				if word != "" {
					next = append(next, word)
				}
				longer = append(longer, next)
			}
		}
		all = longer
	}
	return all
}

// everySetting is what "supervisor run" can be told besides listeners.
var everySetting = []string{
	"--dir=/srv/a b", "--env=A=50% $x", "--env=B=\"", "--env-clear", "--ready-timeout=2m", "--overlap=1s", "--settle=0s", "--gate-timeout=1h",
	"--pause-timeout=300ms", "--bake=1ms", "--drain-timeout=24h", "--stop-grace=1s", "--max-draining=2", "--backoff-min=1s", "--backoff-max=1m",
	"--stable-after=1m", "--probe=/ready?a=%20b", "--probe-interval=1s", "--probe-timeout=1s", "--probe-failures=9",
	"--queue-target=5ms", "--queue-interval=100ms", "--queue-headroom=100ms", "--queue-reaction=50ms", "--metrics=127.0.0.1:9100", "--log-format=json", "--log-level=debug",
}

// TestAllFlagsMakeUnitsThatSystemdTakes: whatever is asked for is either refused
// or passes without a word, with a listener at least.
func TestAllFlagsMakeUnitsThatSystemdTakes(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		var script strings.Builder
		made := 0
		for _, flags := range combinations(choices()) {
			reload, network := slices.Contains(flags, "--notify-reload"), !slices.Contains(flags, "--no-network")
			from254 := slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--systemd=") })
			if from254 && m.Version < 254 {
				continue // they are not for this one
			}
			refused := reload && !from254 || !network && slices.Contains(flags, "--no-socket")
			verdict := ""
			if refused {
				verdict = "!"
			} else {
				made++
			}
			fmt.Fprintf(&script, "%s %s unit flags%d --user daemon --output %s '%s' -- %s || { echo flags%d: %q; exit 1; }\n",
				verdict, supervisor, made, folder, strings.Join(flags, "' '"), program, made, flags)
		}
		fmt.Fprintf(&script, "%s unit every --user daemon --output %s --listen=http=tcp://:80 '%s' -- ./web\n", supervisor, folder, strings.Join(everySetting, "' '"))
		path := filepath.Join(m.Dir, "flags")
		if err := os.WriteFile(path, []byte("set -e\nexec 2>&1 >/dev/null\n"+script.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, m.Command(t.Context(), "sh", path))
		files, err := filepath.Glob(filepath.Join(m.Path(folder), "*.s*t*"))
		services, err2 := filepath.Glob(filepath.Join(m.Path(folder), "*.service"))
		if err != nil || err2 != nil || len(services) != made+1 {
			t.Fatalf("%d services, want %d: %v, %v", len(services), made+1, err, err2)
		}
		words := []string{"verify", "--man=no"}
		for _, file := range slices.Compact(slices.Sorted(slices.Values(append(files, services...)))) {
			words = append(words, filepath.Base(file))
		}
		if out := run(t, m.Command(t.Context(), "systemd-analyze", words...)); out != "" {
			t.Error(out)
		}
		t.Logf("systemd %d: %d services of %d units", m.Version, len(services), len(words)-2)
	})
}
