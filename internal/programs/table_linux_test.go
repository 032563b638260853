package programs

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/load"
)

// A table is what docs/programs.md shows.
type table struct {
	upgrades int

	mu   sync.Mutex
	rows []row
}

// A row is what was counted of one program.
type row struct {
	program
	ours   load.Report
	theirs *load.Report // nil: not counted
}

// add may be called concurrently.
func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// String writes the table as Markdown.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.rows, func(a, b row) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	var b strings.Builder
	b.WriteString("| program | version | `--protocol` | told to end by | upgrades | traffic | requests | failed | replaced by its own means, failed |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		for i, traffic := range r.ours.Traffic {
			own := "not counted"
			if r.theirs != nil {
				theirs := r.theirs.Traffic[i]
				own = fmt.Sprintf("%d of %d", lost(theirs), theirs.Requests)
			}
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %d | %s | %d | %d | %s |\n",
				r.name, r.edition(), r.protocol, r.told(), t.upgrades, inWords(traffic), traffic.Requests, lost(traffic), own)
		}
	}
	return b.String()
}

// inWords says which traffic it was.
func inWords(t load.TrafficReport) string {
	if t.Pattern == load.KeepAlive {
		return "keep-alive"
	}
	return "new connections"
}

// digits find a version in what a program says of itself.
var digits = regexp.MustCompile(`\d+\.\d[\w.+-]*`)

// edition is the program's version.
func (p program) edition() string {
	out, err := exec.Command(p.version[0], p.version[1:]...).CombinedOutput()
	if err != nil {
		return "not known"
	}
	return digits.FindString(string(out))
}

// told is how the program is told to end.
func (p program) told() string {
	if p.graceful == 0 {
		return "HUP"
	}
	return strings.TrimPrefix(unix.SignalName(p.graceful), "SIG")
}
