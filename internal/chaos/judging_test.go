package chaos

import (
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// TestLossesAreExcusedByDeathsAlone holds which failures a death excuses.
func TestLossesAreExcusedByDeathsAlone(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	d := death{from: at, to: at.Add(20 * time.Millisecond)}
	for _, test := range []struct {
		what       string
		due, ended time.Duration // after at
		failure    load.FailureKind
		excused    bool
	}{
		{"in flight, reset", -5 * time.Millisecond, 3 * time.Millisecond, load.Reset, true},
		{"sent while it dies", 10 * time.Millisecond, 15 * time.Millisecond, load.EOF, true},
		{"noticed a little later", -5 * time.Millisecond, 100 * time.Millisecond, load.EOF, true},
		{"broken before", -50 * time.Millisecond, -time.Millisecond, load.Reset, false},
		{"sent afterwards", 21 * time.Millisecond, 22 * time.Millisecond, load.Reset, false},
		{"broken long after", -5 * time.Millisecond, time.Second, load.Reset, false},
		{"refused", -5 * time.Millisecond, 3 * time.Millisecond, load.Refused, false},
		{"left to wait", -5 * time.Millisecond, 10 * time.Millisecond, load.Timeout, false},
		{"answered wrongly", -5 * time.Millisecond, 10 * time.Millisecond, load.Body, false},
	} {
		lost, _ := unexcused([]load.Outcome{{Due: at.Add(test.due), Latency: test.ended - test.due, Failure: test.failure}}, []death{d})
		if excused := len(lost) == 0; excused != test.excused {
			t.Errorf("%s: excused %v, want %v", test.what, excused, test.excused)
		}
	}
}

// TestLedgerFindsFaults holds that the model objects to what must not be.
func TestLedgerFindsFaults(t *testing.T) {
	t.Parallel()
	runs := func(note string) upgrade.Release {
		return upgrade.Release{Program: upgrade.Program{Command: []string{"web", "-version", note}, Listen: []string{"http=x"}}}
	}
	old, next := runs("0"), runs("1.1")
	before := func() ledger {
		return ledger{active: releaseOf(old), generation: 1, highest: 1, request: 4, processes: map[int]int{1: 100}}
	}
	report := upgrade.Report{Request: 5, Verdict: upgrade.Committed, To: 2, ToRelease: &next, Note: "1.1"}
	plain := func() outcome {
		a := act{deed: deed{kind: upgrades, protocol: "native"}, note: "1.1"}
		return outcome{step{a}, []answer{{act: a, report: &report}}, upgrade.Status{
			Generations: []upgrade.GenerationStatus{{Generation: 2, PID: 200, Release: next}},
			Listeners:   []upgrade.ListenerStatus{{Name: "http"}}, Reports: []upgrade.Report{report},
		}}
	}
	for _, test := range []struct {
		want   string
		change func(*outcome)
	}{
		{"", func(*outcome) {}},
		{"exits with status 11", func(o *outcome) { o.answers[0].status = 11 }},
		{"no report", func(o *outcome) { o.answers[0].report = nil }},
		{"another report", func(o *outcome) { o.after.Reports[0].Verdict = upgrade.Aborted }},
		{"has two reports", func(o *outcome) { o.after.Reports = append(o.after.Reports, report) }},
		{"nobody's", func(o *outcome) { o.after.Reports[0].Note = "" }},
		{"was one before", func(o *outcome) { o.after.Reports[0].To = 1; o.after.Reports[0].Request = 6 }},
		{"nothing spoke against it", func(o *outcome) { o.after.Reports[0].Verdict = upgrade.Aborted }},
		{"is committed", func(o *outcome) { o.step[0].quality = bad }},
		{"runs, want", func(o *outcome) { o.after.Generations[0].Release = old }},
		{"is active, want", func(o *outcome) { o.after.Generations[0].Generation = 3 }},
		{"generations are there", func(o *outcome) { o.after.Generations = nil }},
		{"the listeners are", func(o *outcome) { o.after.Listeners = nil }},
	} {
		o := plain()
		test.change(&o)
		faults := strings.Join(before().settle(o).faults, "\n")
		if test.want == "" && faults != "" || !strings.Contains(faults, test.want) {
			t.Errorf("want %q in %q", test.want, faults)
		}
	}
}
