package main

import (
	"context"
	"errors"
	"slices"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// A plea is what a client waits for.
type plea struct {
	kind   deedKind
	steps  chan upgrade.Step // closed when it is over
	known  bool              // the client knows the number of its request
	report upgrade.Report
	err    error
}

// plead asks for what the deed is.
func (v *victim) plead(d deed) *plea {
	p := &plea{kind: d.kind, steps: make(chan upgrade.Step, 1000)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.Context()), 2*patience)
	kind, request := upgrade.KindUpgrade, upgrade.Request{WaitDrain: true}
	if d.kind == rollsBack {
		kind = upgrade.KindRollback
	} else {
		request.Program = &upgrade.Program{Command: d.program}
	}
	go func() { // joined by told, or by the end of the test
		defer close(p.steps)
		defer cancel()
		if d.kind == replaces {
			_, p.err = v.client.Reexec(ctx, "")
			return
		}
		p.report, p.err = v.client.Attempt(ctx, kind, request, func(_ []byte, l control.Line) {
			if l.Step != nil {
				p.steps <- *l.Step
			}
		})
	}()
	v.Cleanup(func() {
		cancel()
		p.join()
	})
	return p
}

// reaches waits until that phase has begun, or there is an answer.
func (p *plea) reaches(phase upgrade.Phase) {
	for s := range p.steps {
		p.known = true
		if s.Phase == phase {
			return
		}
	}
}

// over reports whether there is an answer.
func (p *plea) over() bool {
	for {
		select {
		case _, more := <-p.steps:
			if !more {
				return true
			}
			p.known = true
		default:
			return false
		}
	}
}

func (p *plea) join() {
	for range p.steps {
		p.known = true
	}
}

// told waits for the answer, which must be a definite one: a report that is also
// in the status, or the supervisor's refusal, or that it was killed before it
// told the number of the request.
func (v *victim) told(p *plea, d deed, after upgrade.Status) {
	v.Helper()
	p.join()
	var refused *control.RefusedError
	switch {
	case p.kind == replaces && (errors.As(p.err, &refused) || errors.Is(p.err, control.ErrLost)):
		v.Logf("the client is told: %v", p.err)
	case p.err != nil && !p.known && errors.Is(p.err, control.ErrLost):
		v.Logf("the client is told: %v", p.err)
	case p.err != nil:
		v.Errorf("the client is told %v", p.err)
	case p.kind != replaces:
		v.Logf("the client is told: %s (%s)", p.report.Verdict, p.report.Reason)
		v.verdicts[p.report.Verdict]++
		same := func(r upgrade.Report) bool { return r.Request == p.report.Request && r.Verdict == p.report.Verdict }
		if p.report.Verdict != upgrade.Refused && !slices.ContainsFunc(after.Reports, same) { // a refusal is nothing that happened
			v.Errorf("the status does not have its report: %+v", after.Reports)
		}
		if d.bad && p.report.Verdict == upgrade.Committed {
			v.Error("it is committed, and should not be")
		}
	}
}

// rightful expects that the generation that serves is the one of which the
// clients were told, and otherwise the same as before.
func (v *victim) rightful(d deed, waiting []*plea, after upgrade.Status) {
	v.Helper()
	was, is := v.status.Generations[0], after.Generations[0]
	want, command := was.Generation, was.Release.Command
	if d.kind == crashes {
		want = max(is.Generation, was.Generation+1) // some of those that start may be killed
	}
	for _, p := range waiting {
		if p.report.Verdict == upgrade.Committed {
			want, command = p.report.To, p.report.ToRelease.Command
		}
	}
	if is.Generation != want || !slices.Equal(is.Release.Command, command) {
		v.Errorf("generation %d of %q serves, want %d of %q", is.Generation, is.Release.Command, want, command)
	}
	if is.Generation == was.Generation && is.PID != was.PID {
		v.Errorf("generation %d is process %d, and was %d", is.Generation, is.PID, was.PID)
	}
}
