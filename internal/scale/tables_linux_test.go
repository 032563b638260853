package scale

import (
	"fmt"
	"strings"
	"time"
)

// A table is one of a document in Markdown; figures stand to the right.
type table struct{ text strings.Builder }

func newTable(heads ...string) *table {
	t := &table{}
	t.row(heads...)
	t.row(strings.Split(strings.Repeat("--: ", len(heads)-1)+"--:", " ")...)
	return t
}

func (t *table) row(cells ...string) {
	t.text.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (t *table) String() string { return t.text.String() }

// ms writes a time in milliseconds with three digits.
func ms(d time.Duration) string { return digits(d.Seconds() * 1000) }

func digits(n float64) string {
	switch {
	case n >= 100:
		return thousands(int(n + 0.5))
	case n >= 10:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.2f", n)
}

// medianAndMost writes both.
func medianAndMost(s span) string {
	if len(s) == 0 {
		return "-"
	}
	return ms(s.median()) + " / " + ms(s.most())
}

// single writes the only one.
func single(s span) string {
	if len(s) == 0 {
		return "-"
	}
	return ms(s.median())
}

func percent(part float64) string { return fmt.Sprintf("%.2f", 100*part) }

func mib(bytes int) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// thousands writes 1234567 as 1,234,567.
func thousands[N int | uint64](n N) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func listenerTable(rows []listenerRow) string {
	t := newTable("listeners", "ms to ready", "ms in the gate", "ms from pause to paused", "ms to commit", "% of a core at rest", "% in a bake", "supervisor MiB", "generation MiB", "requests", "failed")
	for _, r := range rows {
		t.row(thousands(r.listeners), medianAndMost(r.took.ready), medianAndMost(r.took.gate), medianAndMost(r.took.pause), medianAndMost(r.took.commit),
			percent(r.idle), percent(r.bake), mib(r.supervisor), mib(r.generation), thousands(r.requests.Requests), thousands(r.requests.Failed))
	}
	text := t.String()
	if first, last := rows[0], rows[len(rows)-1]; last.listeners > first.listeners {
		more := last.listeners - first.listeners
		text += fmt.Sprintf("\nThat is %.1f KiB of the supervisor and %.1f KiB of a generation for each listener.\n",
			float64(last.supervisor-first.supervisor)/float64(more)/1024, float64(last.generation-first.generation)/float64(more)/1024)
	}
	return text
}

func connectionTable(rows []connectionRow) string {
	upgrades := newTable("protocol", "connections", "in generations", "ms to ready", "ms from pause to paused", "ms to commit", "ms to ready, in drains", "ms from pause to paused, in drains", "ms to commit, in drains", "ms until drained", "answered after it", "lost")
	costs := newTable("protocol", "connections", "% of a core at rest", "% in a bake", "% in the drains", "% of those that drain", "supervisor MiB", "with what stands for programs MiB", "bytes of the service for each")
	for _, r := range rows {
		upgrades.row(r.protocol, thousands(r.connections), fmt.Sprint(r.generations),
			single(r.open.ready), single(r.open.pause), single(r.open.commit),
			medianAndMost(r.drains.ready), medianAndMost(r.drains.pause), medianAndMost(r.drains.commit),
			ms(r.drained), thousands(r.answered), thousands(r.lost))
		each := "-"
		if r.connections > 0 {
			each = thousands(r.service / r.connections)
		}
		costs.row(r.protocol, thousands(r.connections), percent(r.idle), percent(r.bake), percent(r.drain), percent(r.sweeping), mib(r.supervisor), mib(r.overseers), each)
	}
	return upgrades.String() + "\n" + costs.String()
}
