package compare

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"example.com/supervisor/internal/load"
)

//go:embed testdata/comparison.md
var page string

// document writes what was found as docs/comparison.md.
func (r *results) document() (string, error) {
	t, err := template.New("comparison").Parse(page)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Machine": load.ThisMachine().Full(), "Rate": r.pace.rate, "Clients": r.pace.clients, "InFlight": inFlight, "Upgrades": r.upgrades, "Rounds": r.rounds,
		"StartUp": figure(r.startUp), "Configured": r.pace.startUp.Milliseconds(), "Took": r.took.Round(time.Minute).Minutes(),
		"Missing": r.missing, "Failed": r.failedTable(), "New": r.latencies(arriving), "Kept": r.latencies(kept), "Times": r.times(),
		"Faults": r.faultTables(), "Undone": r.undoneTable(), "Repetitions": repetitions, "About": r.abouts(), "Patience": patience.Seconds(), "Watching": r.pace.watching.Seconds(), "Summary": r.summary(),
	})
	return b.String(), err
}

// figure writes milliseconds with as many digits as they are worth.
func figure(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return grouped(uint64(ms + 0.5))
}

// grouped writes a count with commas.
func grouped(n uint64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// A table is one of Markdown.
type table struct{ strings.Builder }

func (t *table) row(cells ...string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }

// head begins it.
func (t *table) head(cells ...string) {
	t.row(cells...)
	t.row(slices.Repeat([]string{"---"}, len(cells))...)
}

func (r *results) failedTable() string {
	var t table
	t.head(append([]string{"", "version", "upgrades", "requests", "failed"}, append(kinds(), "how", "dropped by the kernel")...)...)
	for _, who := range r.peers {
		all := r.tallies[who.title()]
		failed, requests := all.failed()
		cells := []string{who.title(), r.versions[who.title()], fmt.Sprint(all.upgrades), grouped(requests), "**" + grouped(failed) + "**"}
		how := map[string]uint64{}
		for _, kind := range kinds() {
			c := all.traffic[kind]
			if c == nil {
				c = &counts{}
			}
			cells = append(cells, grouped(c.failed))
			for k, n := range c.kinds {
				how[string(k)] += n
			}
		}
		t.row(append(cells, counted(how), grouped(all.drops))...)
	}
	return t.String()
}

// counted lists how often what happened.
func counted[K ~string](how map[K]uint64) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(how)) {
		all = append(all, fmt.Sprintf("%s %s", grouped(how[k]), k))
	}
	return cmp.Or(strings.Join(all, ", "), "-")
}

// summary has of each table what matters most.
func (r *results) summary() string {
	var t table
	t.head("", "requests failed by upgrades", "p99 of new connections after an upgrade against steady, ms", "until the new version alone answers, beyond its start-up, median ms",
		fmt.Sprintf("bad versions, of %d, after which a good one served", len(faults())), "requests without a good answer by bad versions", "the command's exit status was right")
	for _, who := range r.peers {
		all := r.tallies[who.title()]
		failed, requests := all.failed()
		var survived, right int
		var lost uint64
		for _, f := range faults() {
			o := r.offers[f.title][who.title()]
			if o.serves == "v1" {
				survived++
			}
			if o.said.status != 0 {
				right++ // none of them should be taken for a success
			}
			lost += o.lost
		}
		t.row(who.title(), fmt.Sprintf("**%s** of %s", grouped(failed), grouped(requests)), r.difference(who, arriving),
			figure(max(quantile(all.alone, 0.5)-r.startUp, 0)), fmt.Sprint(survived), grouped(lost), fmt.Sprintf("%d of %d", right, len(faults())))
	}
	return t.String()
}

// difference is how much more the p99 is after an upgrade.
func (r *results) difference(who peer, kind string) string {
	all := r.tallies[who.title()]
	d := quantile(all.after[kind], 0.99) - quantile(all.steady[kind], 0.99)
	if d < 0 {
		return "-" + figure(-d)
	}
	return "+" + figure(d)
}

func (r *results) latencies(kind string) string {
	var t table
	t.head("", "steady: p50 ms", "p99 ms", "p99.9 ms", "max ms", "after an upgrade: p50 ms", "p99 ms", "p99.9 ms", "max ms", "difference of p99, ms")
	for _, who := range r.peers {
		all := r.tallies[who.title()]
		cells := []string{who.title()}
		for _, values := range [][]float64{all.steady[kind], all.after[kind]} {
			for _, part := range []float64{0.5, 0.99, 0.999, 1} {
				cells = append(cells, figure(quantile(values, part)))
			}
		}
		t.row(append(cells, "**"+r.difference(who, kind)+"**")...)
	}
	return t.String()
}

func (r *results) times() string {
	var t table
	t.head("", "until the new version alone answers new connections, beyond its start-up: median ms", "p99 ms",
		"until the command returns: median ms", "p99 ms", "from request to commit beyond the start-up, as it reports itself: median ms", "p99 ms")
	for _, who := range r.peers {
		all := r.tallies[who.title()]
		own := []string{"-", "-"}
		if quantile(all.beyond, 1) > 0 {
			own = []string{figure(quantile(all.beyond, 0.5)), figure(quantile(all.beyond, 0.99))}
		}
		t.row(append([]string{
			who.title(), figure(max(quantile(all.alone, 0.5)-r.startUp, 0)), figure(max(quantile(all.alone, 0.99)-r.startUp, 0)),
			figure(quantile(all.told, 0.5)), figure(quantile(all.told, 0.99)),
		}, own...)...)
	}
	return t.String()
}

// A section is what the page says of one fault.
type section struct{ Title, Table string }

func (r *results) faultTables() (all []section) {
	for _, f := range faults() {
		var t table
		t.head("", "requests", "without a good answer", "how", "longest time without a good answer to a new connection, ms", "exit status of the command", "what it says", "serves afterwards", "from the fault to good answers by the old version, ms")
		for _, who := range r.peers {
			o, ok := r.offers[f.title][who.title()]
			if !ok {
				continue
			}
			t.row(who.title(), grouped(o.requests), "**"+grouped(o.lost)+"**", counted(o.kinds), figure(milliseconds(o.gap)),
				fmt.Sprint(o.said.status), cell(o.said.words), o.verdict(), o.recovery(f))
		}
		all = append(all, section{f.title, t.String()})
	}
	return all
}

// recovery says how the version before came to serve again.
func (o offer) recovery(f fault) string {
	switch {
	case len(o.trips) > 0:
		return figure(milliseconds(o.trips[0]))
	case !f.late && o.serves == "v1":
		return "it had not left"
	}
	return "never"
}

// cell makes a text one of a table.
func cell(text string) string {
	return cmp.Or(strings.ReplaceAll(text, "|", "\\|"), "-")
}

func (r *results) undoneTable() string {
	var t table
	t.head("supervisor, defaults", "faults", "undone", "from the fault to a good answer: median ms", "p99 ms",
		"from the trip until the old version has resumed, as it reports itself: median ms", "p99 ms", "requests", "without a good answer")
	for _, f := range faults() {
		o, ok := r.undone[f.title]
		if !ok {
			continue
		}
		back, resumed := inMilliseconds(o.trips), inMilliseconds(o.resumed)
		t.row(f.title, fmt.Sprint(o.begun), fmt.Sprint(len(o.trips)), figure(quantile(back, 0.5)), figure(quantile(back, 0.99)),
			figure(quantile(resumed, 0.5)), figure(quantile(resumed, 0.99)), grouped(o.requests), grouped(o.lost))
	}
	return t.String()
}

func inMilliseconds(all []time.Duration) (figures []float64) {
	for _, d := range all {
		figures = append(figures, milliseconds(d))
	}
	return figures
}

// abouts say of each peer how it was run.
func (r *results) abouts() string {
	var b strings.Builder
	for _, who := range r.peers {
		fmt.Fprintf(&b, "- **%s** (%s). %s\n", who.title(), r.versions[who.title()], who.about())
	}
	return b.String()
}
