package compare

import (
	"cmp"
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// A fault is what is wrong with a version.
type fault struct {
	title string
	// name is what the service calls it; "" is a mistake in a configuration.
	name string
	// late tells that it comes when the version has been alone for a while, and not
	// at the start.
	late bool
}

func faults() []fault {
	return []fault{
		{title: "exits at the start", name: "exits"},
		{title: "hangs before it is ready", name: "hangs"},
		{title: "crashes when alone", name: "crashes", late: true},
		{title: "turns unhealthy when alone", name: "unhealthy", late: true},
		{title: "stops accepting when alone", name: "stalls", late: true},
		{title: "mistake in the configuration"},
	}
}

// An offer is what came of a bad version that was offered under load.
type offer struct {
	said said
	// lost are requests that failed, or had no answer in the end.
	lost, requests uint64
	kinds          map[load.FailureKind]uint64
	// gap is the longest time without a good answer to a new connection.
	gap time.Duration
	// serves is the version that answers in the end; "" if none does.
	serves string
	// begun is how many faults came late; trips have, for each of them, how long it
	// took until the version before served again, if it did.
	begun int
	trips []time.Duration
	// resumed has what the peer itself said of these.
	resumed []time.Duration
}

const (
	// pause is between two bad versions.
	pause = 500 * time.Millisecond
	// mercy is how long requests have in the end to be answered: more than streams.
	mercy = 4 * time.Second
	// unanswered is what a request is that had no answer by then.
	unanswered load.FailureKind = "unanswered"
)

// offer has a peer deploy a bad version under load, so many times, each with its
// fault.
func (p pace) offer(tb testing.TB, who peer, f fault, times int) (o offer) {
	tb.Helper()
	d := who.begin(tb, p.release(1))
	ctx, cut := context.WithCancel(context.WithoutCancel(tb.Context()))
	defer cut()
	run := p.send(ctx, tb, d)
	warm(tb, run, uint64(p.rate))
	begun := time.Now()
	var trips []time.Time
	for i := range times {
		if i > 0 {
			<-time.After(pause)
		}
		trips = append(trips, p.attempt(d, f, i+2, &o))
		if testing.Verbose() {
			tb.Logf("%v: %+v", time.Since(begun), o.said)
		}
	}
	end := time.Now().Add(p.watching)
	if wait := begun.Add(patience + p.watching); f.name == "hangs" && end.Before(wait) {
		end = wait
	}
	<-time.After(time.Until(end))
	late := time.AfterFunc(mercy, cut)
	defer late.Stop()
	report := run.Stop()
	d.end()
	o.requests, o.lost, o.kinds = report.Requests, report.Failed+report.Unfinished, report.FailedByKind
	if report.Unfinished > 0 {
		o.kinds[unanswered] = report.Unfinished
	}
	o.said.words = strings.ReplaceAll(o.said.words, d.shared()+"/", "")
	o.judge(run.Outcomes(), begun, end, p.watching/3)
	o.recoveries(run.Outcomes(), trips, p.release(1).Version)
	if testing.Verbose() {
		tb.Logf("%+v; %s", o, failures(report))
	}
	return o
}

// attempt deploys a bad version and returns when its fault began; zero if that never
// came.
func (p pace) attempt(d deployment, f fault, number int, o *offer) time.Time {
	r := p.release(number)
	r.Fault, r.broken = f.name, f.name == ""
	if !f.late {
		o.said = d.deploy(r)
		return time.Time{}
	}
	r.Trigger = filepath.Join(d.shared(), r.Version+".trigger")
	_ = os.Remove(r.Trigger) // of another fault; it stays, for a version that is started again
	w := witness(d, r)
	o.said = d.deploy(r)
	o.resumed = append(o.resumed, o.said.resumed...)
	return w.wait()
}

// judge finds how long there was no good answer, and who gave recent ones in the end.
func (o *offer) judge(outcomes iter.Seq[load.Outcome], begun, end time.Time, recent time.Duration) {
	good := []time.Time{begun, end}
	var last load.Outcome
	for outcome := range outcomes {
		at := outcome.Ended()
		if outcome.Failure != "" || outcome.Traffic != arriving || at.Before(begun) || at.After(end) {
			continue
		}
		good = append(good, at)
		if at.After(last.Ended()) {
			last = outcome
		}
	}
	slices.SortFunc(good, time.Time.Compare)
	for i := range good[1:] {
		o.gap = max(o.gap, good[i+1].Sub(good[i]))
	}
	if end.Sub(last.Ended()) < recent {
		o.serves = last.Generation
	}
}

// recoveries finds for each fault the first answer after it to a new connection by
// the version before.
func (o *offer) recoveries(outcomes iter.Seq[load.Outcome], trips []time.Time, before string) {
	for i, trip := range trips {
		if trip.IsZero() {
			continue
		}
		o.begun++
		var first, next time.Time
		if later := slices.DeleteFunc(slices.Clone(trips[i+1:]), time.Time.IsZero); len(later) > 0 {
			next = later[0]
		}
		for outcome := range outcomes {
			if outcome.Failure == "" && outcome.Traffic == arriving && outcome.Generation == before && outcome.Due.After(trip) {
				if first.IsZero() || outcome.Ended().Before(first) {
					first = outcome.Ended()
				}
			}
		}
		if !first.IsZero() && (next.IsZero() || first.Before(next)) {
			o.trips = append(o.trips, first.Sub(trip))
		}
	}
}

// verdict says in words which version serves in the end.
func (o offer) verdict() string { return cmp.Or(o.serves, "none") }
