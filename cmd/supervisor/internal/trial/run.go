package trial

import (
	"context"
	"fmt"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
)

// glance is how often it is looked whether a run has sent its requests.
const glance = 10 * time.Millisecond

// longest is the duration of traffic that is stopped by hand.
const longest = 1000 * time.Hour

// Run sends the traffic and acts meanwhile. The end of ctx ends it early, with
// the answers to what is in flight; closing hurry cuts these off too. An error
// tells that nothing was sent.
func Run(ctx context.Context, hurry <-chan struct{}, c Config) (Result, error) {
	r := newResult(c)
	traffic := c.Load
	if c.Every > 0 { // ended by hand, when the last verdict is known
		traffic.Duration, traffic.Requests = longest, 0
	}
	cut, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	run, err := load.Start(cut, traffic)
	if err != nil {
		return Result{}, err
	}
	t := &trial{Config: c, result: &r, run: run, started: time.Now(), screen: figures.NewScreen(c.Progress)}
	t.doing("")
	var tape *figures.Tape
	if c.Queue != nil {
		tape = figures.Record(cut, c.Queue, c.Wanted, t.started)
	}
	t.actAll(ctx)
	t.doing("waiting for the last answers")
	report := t.stop(hurry, abort)
	r.Interrupted = ctx.Err() != nil
	if tape != nil {
		if err := tape.Stop(); err != nil { // the clients' word stands without it
			t.screen.Line("note: " + err.Error())
		}
		r.watched(tape)
	}
	t.screen.Close()
	r.take(report)
	r.Problems = append(r.Problems, judge(r)...)
	r.OK = len(r.Problems) == 0
	return r, nil
}

// stop ends the traffic; it is cut off by abort when hurry is closed meanwhile.
func (t *trial) stop(hurry <-chan struct{}, abort func()) load.Report {
	reports := make(chan load.Report)
	go func() { reports <- t.run.Stop() }() // joined below
	select {
	case report := <-reports:
		return report
	case <-hurry:
		abort()
		return <-reports
	}
}

// A trial is a run between the first request and the last.
type trial struct {
	Config
	result  *Result
	run     *load.Run
	started time.Time
	screen  *figures.Screen
}

// doing says in the live line what goes on.
func (t *trial) doing(what string) {
	t.screen.Live(func() string { return figures.Progress(t.run.Snapshot(), what) })
}

// actAll acts at its times until the run is over.
func (t *trial) actAll(ctx context.Context) {
	for at := t.Every; t.wait(ctx, at); {
		a := t.Actor.Act(ctx, t.doing)
		t.doing("")
		a.Number = len(t.result.Attempts) + 1
		a.AtSeconds = a.began.Sub(t.started).Seconds()
		t.run.Mark(load.Event{Label: fmt.Sprint(a.Number), Time: a.began, Verdict: a.Verdict})
		t.result.Attempts = append(t.result.Attempts, a)
		t.screen.Line(a.line())
		at += t.Every
		if a.Verdict == Unknown { // nobody answers: that may be at once
			at = max(at, time.Since(t.started)+t.Every)
		}
	}
}

// over reports whether the attempt that is due at a time of the run is not made
// any more. The first one is, however late this side is.
func (t *trial) over(ctx context.Context, at time.Duration) bool {
	first := len(t.result.Attempts) == 0 && at < t.Load.Duration
	return ctx.Err() != nil || time.Since(t.started) >= t.Load.Duration && !first ||
		t.Load.Requests > 0 && t.run.Due() >= t.Load.Requests
}

// wait returns true at a time of the run, or false if the run is over before.
func (t *trial) wait(ctx context.Context, at time.Duration) bool {
	if t.Every == 0 {
		at = longest
	} else if t.over(ctx, at) { // the attempt before may have taken long
		return false
	}
	due := time.NewTimer(time.Until(t.started.Add(at)))
	defer due.Stop()
	look := time.NewTicker(glance)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.run.Done():
			return false
		case <-look.C:
			if t.Every > 0 && t.over(ctx, at) {
				return false
			}
		case <-due.C:
			return true
		}
	}
}
