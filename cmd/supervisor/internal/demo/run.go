package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// Run runs the demo and cleans up after it. The end of ctx cuts it short, and
// closing hurry then cuts the cleaning up short. What went wrong is among the
// Problems of the result.
func Run(ctx context.Context, hurry <-chan struct{}, c Config) Result {
	r := newResult(c)
	if err := r.run(ctx, hurry, c); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	if ctx.Err() != nil {
		r.Interrupted = true
		r.Problems = append([]string{"interrupted, so that nothing was judged"}, judgeRemains(r)...)
	} else if r.report != nil {
		r.Problems = append(r.Problems, judge(r)...)
	}
	r.OK = len(r.Problems) == 0
	return r
}

// run does all but judge.
func (r *Result) run(ctx context.Context, hurry <-chan struct{}, c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	log := c.Log
	if log == nil {
		var err error
		if log, err = openLog(); err != nil {
			return err
		}
		defer log.Close()
	}
	s, err := startSupervisor(c, log)
	if err != nil {
		return err
	}
	screen := figures.NewScreen(c.Progress)
	p := performance{c: c, s: s, screen: screen, result: r}
	err = p.perform(ctx)
	screen.Live(func() string { return "stopping" })
	if end := s.end(hurry); !errors.Is(err, errSupervisorEnded) {
		err = errors.Join(err, end)
	}
	r.LeftBehind = append(r.LeftBehind, s.remains(remainsGrace)...)
	screen.Close()
	r.log = tail(log)
	return err
}

// A performance is a run between the start of the supervisor and its end.
type performance struct {
	c       Config
	s       *supervisor
	screen  *figures.Screen
	result  *Result
	traffic *load.Run
	started time.Time
}

func (p *performance) perform(ctx context.Context) error {
	p.screen.Live(func() string { return "starting" })
	address, err := p.s.awaitActive(ctx)
	if err != nil {
		return fmt.Errorf("cannot start the service: %w", err)
	}
	p.screen.Line(opening(p.result, address))
	// Cut off, not left to end, when the run is cut short.
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	if p.traffic, err = load.Start(ctx, p.c.load(address)); err != nil {
		return err
	}
	p.started = time.Now()
	tape := figures.Record(ctx, p.s.client, isItsListener, p.started)
	err = p.upgradeAll(ctx)
	if err == nil {
		err = p.wait(ctx, p.c.Duration)
	}
	if err != nil {
		abort()
	}
	p.screen.Live(func() string { return p.progress("waiting for the last answers") })
	report := p.traffic.Stop()
	blind := tape.Stop()
	p.result.take(report)
	p.result.watched(tape)
	if ctx.Err() == nil { // else it was cut short too
		err = errors.Join(err, blind)
	}
	return errors.Join(err, p.look(ctx))
}

// breather is the least time after a rollback until the next offer. What has
// piled up meanwhile must be accepted first, and the supervisor must have seen
// that it is: it lets nobody deploy while connections wait.
const breather = 250 * time.Millisecond

// upgradeAll offers the versions of the plan, each at its time or when the one
// before has its verdict.
func (p *performance) upgradeAll(ctx context.Context) error {
	offers := p.c.plan()
	for _, o := range offers {
		p.screen.Live(func() string { return p.progress("") })
		if err := p.wait(ctx, o.at); err != nil {
			return err
		}
		if err := p.offer(ctx, o, len(offers)); err != nil {
			return fmt.Errorf("cannot tell the verdict of upgrade %d to %v: %w", o.number, o, err)
		}
		if last := p.result.Upgrades[len(p.result.Upgrades)-1]; last.Verdict == upgrade.RolledBack {
			if err := p.wait(ctx, time.Since(p.started)+breather); err != nil {
				return err
			}
		}
	}
	p.screen.Live(func() string { return p.progress("") })
	return nil
}

// wait returns at a time of the run.
func (p *performance) wait(ctx context.Context, at time.Duration) error {
	timer := time.NewTimer(time.Until(p.started.Add(at)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.s.ended:
		return p.s.endedByItself()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// offer asks for an upgrade and notes its verdict.
func (p *performance) offer(ctx context.Context, o offer, of int) error {
	var affliction affliction
	each := func(_ []byte, l control.Line) {
		if l.Step == nil {
			return
		}
		p.screen.Live(func() string {
			return p.progress(fmt.Sprintf("upgrade %d of %d: %s", o.number, of, l.Step.Phase))
		})
		if o.fault.latent() {
			affliction.follow(ctx, p.s, *l.Step)
		}
	}
	request := upgrade.Request{Program: &upgrade.Program{Command: p.c.args(o.version, o.fault)}, Reason: o.String()}
	report, err := p.s.client.Attempt(ctx, upgrade.KindUpgrade, request, each)
	if err == nil {
		err = affliction.failed
	}
	if err != nil {
		return err
	}
	p.traffic.Mark(load.Event{Label: fmt.Sprint(o.number), Time: report.Started, Verdict: string(report.Verdict)})
	u := Upgrade{
		Number: o.number, Version: o.version, Fault: o.fault, Expected: o.expected(),
		Verdict: report.Verdict, Reason: report.Reason, From: report.From, To: report.To,
		AtSeconds:       report.Started.Sub(p.started).Seconds(),
		DurationSeconds: report.DurationSeconds, StartupSeconds: report.StartupSeconds,
	}
	u.Account(report.Queues, isItsListener)
	p.result.Upgrades = append(p.result.Upgrades, u)
	p.screen.Line(u.line())
	return nil
}

// An affliction has a latent fault of a candidate show as soon as it is alone:
// its process is found while the gate is asked, and gets its signal when the
// bake begins.
type affliction struct {
	candidate int
	victim    *os.Process
	failed    error
}

func (a *affliction) follow(ctx context.Context, s *supervisor, step upgrade.Step) {
	switch step.Phase {
	case upgrade.PhaseStart:
		a.candidate = max(a.candidate, step.Generation)
	case upgrade.PhaseGate:
		a.victim, a.failed = s.process(ctx, a.candidate)
	case upgrade.PhaseBake:
		if a.victim != nil {
			a.failed = errors.Join(a.failed, a.victim.Signal(onset), a.victim.Release())
			a.victim = nil
		}
	}
}

// look asks the supervisor how it ended up.
func (p *performance) look(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil // said already
	}
	status, err := p.s.client.Status(ctx)
	if err != nil {
		return fmt.Errorf("cannot see how it ended: %w", err)
	}
	p.result.Restarts = status.Restarts
	if active(status) == nil {
		return errors.New("no generation is active at the end")
	}
	return nil
}
