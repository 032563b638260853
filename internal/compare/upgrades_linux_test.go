package compare

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// A change is an upgrade that was asked for under load.
type change struct {
	from, to    string // versions
	asked, told time.Time
	said        said
}

// upgrades has a peer replace the service's version so often under load, and adds
// what was seen to the tally.
func (p pace) upgrades(tb testing.TB, who peer, times int, all *tally) {
	tb.Helper()
	d := who.begin(tb, p.release(1))
	run := p.send(context.WithoutCancel(tb.Context()), tb, d)
	warm(tb, run, uint64(p.rate))
	before := drops(tb, d.netstat())
	begun := time.Now() // what was sent before is no part of the latencies
	<-time.After(p.steady)
	var done []change
	for i := range times {
		u := change{from: p.release(i + 1).Version, to: p.release(i + 2).Version, asked: time.Now()}
		u.said = d.deploy(p.release(i + 2))
		u.told = time.Now()
		done = append(done, u)
		<-time.After(max(time.Until(u.asked.Add(p.apart)), time.Until(u.told.Add(p.after))))
		d.settle()
	}
	report := run.Stop()
	all.drops += drops(tb, d.netstat()) - before
	d.end()
	all.add(report)
	all.watch(begun, done, run.Outcomes())
	for _, u := range done {
		if u.said.status != 0 {
			tb.Errorf("%s: the upgrade to %s ended with status %d: %s", who.title(), u.to, u.said.status, u.said.words)
		}
	}
	if last := p.release(times + 1).Version; report.Generations[last] == 0 {
		tb.Errorf("%s: nothing was answered by %s: %v", who.title(), last, report.Generations)
	}
	if testing.Verbose() {
		tb.Log(failures(report))
	}
}

// failures says what failed, and how.
func failures(r load.Report) string {
	text := fmt.Sprintf("%d of %d requests failed", r.Failed, r.Requests)
	for _, t := range r.Traffic {
		for _, f := range t.Failures {
			text += fmt.Sprintf("\n%s: %d %s, at %.3f s: %s", t.Name, f.Count, f.Kind, f.First[0].AtSeconds, f.First[0].Error)
		}
	}
	return text
}
