package scale

import (
	"fmt"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// bouts is into how many parts TestUpgradesInARow divides its upgrades.
const bouts = 10

// thousandPerSecond is traffic of 1,000 requests a second, besides some that are
// slow: longer than a generation accepts.
func thousandPerSecond() []load.Traffic {
	return []load.Traffic{
		{Name: "new connections", Pattern: load.NewConnection, Rate: 600, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "kept connections", Pattern: load.KeepAlive, Rate: 10, Clients: 40, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "slow requests", Pattern: load.InFlight, Clients: 4, Path: "/slow?ms=200", PayloadBytes: 64, Echo: true},
	}
}

// TestUpgradesInARow begins an upgrade each 100 ms, ten thousand in its long form,
// under a thousand requests a second. No request fails, no upgrade does, and what
// the supervisor holds after the first tenth is what it holds at the end.
func TestUpgradesInARow(t *testing.T) {
	upgrades := amount(t, upgradesEnv, 40)
	s := build(t).start(t, []string{"http=tcp://127.0.0.1:0"}, "--settle", "0s", "--bake", "0s", "--max-draining", "64",
		"--state-dir", "state", "--queue-target", "500ms", "--queue-interval", "1s", "--log-level", "warn")
	defer s.Stop()
	for range warmUpgrades {
		s.commits(nil)
	}
	run := s.sustained("http://"+address(s.alone(), "http"), thousandPerSecond())
	names, columns := []string{"at first"}, []held{s.holds()}
	all := series{verdicts: map[string]int{}}
	for i := range bouts {
		left := upgrades*(i+1)/bouts - upgrades*i/bouts
		r := s.upgradesUntil(100*time.Millisecond, func() bool { left--; return left < 0 })
		all.join(r)
		names, columns = append(names, thousands(upgrades*(i+1)/bouts)), append(columns, s.holds())
	}
	report := run.Stop()
	text := rowText(report, all) + heldTable(names, columns)
	t.Logf("\n%s", text)
	var sum load.Report
	count(t, &sum, report)
	for _, trouble := range all.trouble {
		t.Error(trouble)
	}
	if report.OK != report.Requests || all.verdicts["committed"] != upgrades {
		t.Errorf("%d of %d requests answered; %v", report.OK, report.Requests, all.verdicts)
	}
	columns[bouts].judge(t, columns[1])
	publish(t, "endurance", "make endurance", text)
}

// join adds the figures of another series.
func (r *series) join(o series) {
	r.ready, r.pause, r.gate, r.commit = append(r.ready, o.ready...), append(r.pause, o.pause...), append(r.gate, o.gate...), append(r.commit, o.commit...)
	r.between, r.late, r.trouble = append(r.between, o.between...), r.late+o.late, append(r.trouble, o.trouble...)
	for v, n := range o.verdicts {
		r.verdicts[v] += n
	}
}

func rowText(report load.Report, all series) string {
	text := fmt.Sprintf("%s requests in %.0f s, %s failed; %s upgrades: %s. From the beginning of one to that of the next: median %s ms, p99 %s ms; %s of %s took longer than 100 ms.\n\n",
		thousands(report.Requests), report.DurationSeconds, thousands(report.Failed), thousands(len(all.commit)), verdicts(all.verdicts),
		ms(all.between.median()), ms(all.between.at(99)), thousands(all.late), thousands(len(all.commit)))
	requests := newTable("traffic", "requests", "failed", "p50", "p99", "p99.9", "max ms")
	for _, t := range report.Traffic {
		requests.row(t.Name, thousands(t.Requests), thousands(t.Failed), digits(t.All.P50MS), digits(t.All.P99MS), digits(t.All.P999MS), digits(t.All.MaxMS))
	}
	return text + requests.String() + "\n" + all.times() + "\n"
}

// heldTable shows what was held at several moments.
func heldTable(names []string, columns []held) string {
	t := newTable(append([]string{"what the supervisor holds"}, names...)...)
	row := func(name string, of func(held) string) {
		cells := []string{name}
		for _, h := range columns {
			cells = append(cells, of(h))
		}
		t.row(cells...)
	}
	row("resident MiB", func(h held) string { return mib(h.resident) })
	row("heap in use MiB", func(h held) string { return mib(h.heap) })
	row("descriptors", func(h held) string { return thousands(h.descriptors) })
	row("goroutines", func(h held) string { return thousands(h.goroutines) })
	row("processes, with the generation", func(h held) string { return thousands(h.processes) })
	row("bytes of state.json", func(h held) string { return thousands(h.state) })
	row("bytes of the history", func(h held) string { return thousands(h.history) })
	return t.String()
}

// judge says what has grown. Descriptors and processes may not; the Go runtime keeps
// memory according to how much garbage there was at the last collection, which
// differs by some MiB from one look to the next, and what a leak of a goroutine or
// of 8 KiB in each upgrade of a long form would come to is far beyond these.
func (h held) judge(t *testing.T, before held) {
	t.Helper()
	for _, f := range []struct {
		name              string
		now, before, more int
	}{
		{"descriptors", h.descriptors, before.descriptors, 0},
		{"processes", h.processes, before.processes, 0},
		{"goroutines", h.goroutines, before.goroutines, 4},
		{"bytes of heap", h.heap, before.heap, 6 << 20},
		{"bytes resident", h.resident, before.resident, 10 << 20},
		{"bytes of state.json", h.state, before.state, 1 << 10},
		{"bytes of the history", h.history, max(before.history, historyBound), 4 << 10},
	} {
		if f.now > f.before+f.more {
			t.Errorf("%s: %d, and %d before", f.name, f.now, f.before)
		}
	}
}
