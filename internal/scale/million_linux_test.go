package scale

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

const (
	// requestsPerSecond are those of mixed, but for the slow ones.
	requestsPerSecond = 1400
	// warmUpgrades are done before anything is counted that might grow.
	warmUpgrades = 20
)

// mixed is traffic of every kind that an upgrade could lose. All are POSTs, which
// nobody may repeat.
func mixed() []load.Traffic {
	return []load.Traffic{
		{Name: "new connections", Pattern: load.NewConnection, Rate: 1000, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "kept connections", Pattern: load.KeepAlive, Rate: 10, Clients: 40, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "slow requests", Pattern: load.InFlight, Clients: 10, Path: "/slow?ms=700", PayloadBytes: 64, Echo: true},
	}
}

// TestMillion sends requests while an upgrade begins each second, or right after
// the one before if that takes longer. Not one request may fail, no upgrade may
// fail, and nothing may grow.
func TestMillion(t *testing.T) {
	requests := amount(t, requestsEnv, 3000)
	quiet := 2 * time.Second
	if requests >= 100_000 {
		quiet = 30 * time.Second
	}
	s := build(t).start(t, []string{"http=tcp://127.0.0.1:0"}, "--settle", "50ms", "--bake", "100ms", "--max-draining", "64",
		"--state-dir", "state", "--queue-target", "500ms", "--queue-interval", "1s", "--log-level", "warn")
	defer s.Stop()
	target := "http://" + address(s.alone(), "http")
	for range warmUpgrades {
		s.commits(nil)
	}
	before := s.holds()

	steady := s.load(load.Config{Target: target, Duration: quiet, Traffic: mixed()})
	<-steady.Done()
	run := s.load(load.Config{
		Target: target, Duration: time.Hour, Traffic: mixed(),
		Requests: uint64(requests) * requestsPerSecond / (requestsPerSecond + 14), // slow ones come besides
	})
	series := s.upgradesEach(time.Second, run.Done())
	m := million{steady: steady.Stop(), upgraded: run.Stop(), series: series, before: before, after: s.holds()}
	t.Logf("\n%s", m.text())
	m.judge(t, requests)
	publish(t, "million", "make million", m.text())
}

// A series is how upgrades went that were begun at equal distances.
type series struct {
	took
	verdicts map[string]int
	trouble  []string // of those that were not committed
	late     int      // how many began later than was wanted
	between  span     // from the beginning of one to that of the next
}

// upgradesEach begins an upgrade at every interval until done.
func (s *supervised) upgradesEach(interval time.Duration, done <-chan struct{}) series {
	return s.upgradesUntil(interval, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

func (s *supervised) upgradesUntil(interval time.Duration, done func() bool) series {
	r := series{verdicts: map[string]int{}}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last time.Time
	for !done() {
		a, err := s.upgrade(nil)
		r.verdicts[cmp.Or(string(a.Verdict), "none")]++
		if err != nil || a.Verdict != upgrade.Committed {
			r.trouble = append(r.trouble, fmt.Sprintf("%s: %s (%v)", a.Verdict, a.Reason, err))
		}
		r.add(a)
		if !last.IsZero() {
			r.between = append(r.between, a.at.Sub(last))
		}
		if last = a.at; time.Since(last) > interval {
			r.late++
		}
		<-tick.C
	}
	return r
}

// A million is what came of TestMillion.
type million struct {
	steady, upgraded load.Report
	series
	before, after held
}

func (m *million) judge(t *testing.T, requests int) {
	t.Helper()
	var all load.Report
	count(t, &all, m.steady)
	count(t, &all, m.upgraded)
	if m.upgraded.Failed+m.upgraded.Unfinished > 0 || m.upgraded.OK != m.upgraded.Requests {
		t.Errorf("%d of %d requests failed, %d did not end", m.upgraded.Failed, m.upgraded.Requests, m.upgraded.Unfinished)
	}
	if least := uint64(requests) * 99 / 100; m.upgraded.Requests < least {
		t.Errorf("%d requests, want %d", m.upgraded.Requests, least)
	}
	for _, text := range m.trouble {
		t.Error(text)
	}
	if most := m.between.most(); most > 30*time.Second || len(m.verdicts) == 0 {
		t.Errorf("%v, %v from one upgrade to the next", m.verdicts, most)
	}
	m.after.judge(t, m.before)
}

func (m *million) text() string {
	r := m.upgraded
	text := fmt.Sprintf("%s requests in %.0f s, %s failed", thousands(r.Requests), r.DurationSeconds, thousands(r.Failed))
	if r.Failed > 0 {
		text += fmt.Sprintf(", by kind %v", r.FailedByKind)
	}
	text += fmt.Sprintf("; %s upgrades, one each second (the longest pause between two: %s ms): %s. Before them, %s requests without upgrades.\n\n",
		thousands(len(m.commit)), ms(m.between.most()), verdicts(m.verdicts), thousands(m.steady.Requests))
	requests := newTable("traffic", "requests", "failed", "without upgrades: p50", "p99", "p99.9", "max ms", "in the second after an upgrade: p50", "p99", "p99.9", "max ms")
	for i, t := range r.Traffic {
		cells := []string{t.Name, thousands(t.Requests), thousands(t.Failed)}
		for _, l := range []load.Latency{m.steady.Traffic[i].All, t.All} {
			cells = append(cells, digits(l.P50MS), digits(l.P99MS), digits(l.P999MS), digits(l.MaxMS))
		}
		requests.row(cells...)
	}
	return text + requests.String() + "\n" + m.times() + "\n" + heldTable([]string{"at first", "at the end"}, []held{m.before, m.after})
}

// times is the table of how long upgrades took.
func (t took) times() string {
	out := newTable("an upgrade, ms", "median", "p99", "max")
	for _, row := range []struct {
		name string
		span
	}{
		{"request to ready", t.ready}, {"in the gate", t.gate}, {"pause to paused", t.pause}, {"request to commit", t.commit},
	} {
		out.row(row.name, ms(row.median()), ms(row.at(99)), ms(row.most()))
	}
	return out.String()
}

func verdicts(all map[string]int) string {
	var parts []string
	for _, v := range []upgrade.Verdict{upgrade.Committed, upgrade.RolledBack, upgrade.Aborted, upgrade.Refused, "none"} {
		if n := all[string(v)]; n > 0 {
			parts = append(parts, thousands(n)+" "+string(v))
		}
	}
	return strings.Join(parts, ", ")
}

// sustained is traffic until the test stops it.
func (s *supervised) sustained(target string, traffic []load.Traffic) *load.Run {
	s.Helper()
	run, err := load.Start(context.WithoutCancel(s.Context()), load.Config{Target: target, Duration: 3 * time.Hour, Traffic: traffic})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { run.Stop() })
	return run
}
