package faults

import (
	"fmt"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

const (
	// lasting is for how long a fault lasts that does not end by itself.
	lasting = 500 * time.Millisecond
	// dropsForgotten is for how long admission remembers drops.
	dropsForgotten = 5 * time.Second
)

// play runs a cell once. The observation's phase is not the cell's if the fault
// missed it.
func play(t *testing.T, built programs, f fault, p phase, want expectation) observation {
	t.Helper()
	s := setUp(t, built, f, p)
	defer s.undo() // or nothing could be ended, if the fault missed or the run failed
	supervises := s.PID()
	var o observation
	reached := s.fall()
	o.verdict, o.reason = s.verdict()
	if o.phase = s.fellIn(); !reached || s.missed || o.phase != string(s.passage.step) {
		o.missed, o.phase = true, fmt.Sprintf("%s, reached %v %s", o.phase, reached, s.late)
		return o
	}
	s.remedy(want.remedy, &o)
	well := s.recovers(want.remedy, supervises, &o)
	s.undo()
	o.next = s.ordinary()
	s.clients.answered(t, 20)
	if o.successor { // it has others
		s.open = s.descriptors()
	}
	o.left = append(o.left, s.leaked()...)
	s.clients.account(&o, s.injected, well)
	if f.victim != nil {
		if err := s.clients.attribute(&o, s.file("accepted", f.victim(s)), f.fatal); err != nil {
			t.Error(err)
		}
	}
	s.Stop()
	o.left = append(o.left, s.Left()...)
	o.besides = s.besides
	return o
}

// verdict waits for that of the upgrade, if there was one.
func (s *scene) verdict() (verdict, reason string) {
	s.Helper()
	if s.attempt == nil {
		return "none", ""
	}
	if s.fault.mute {
		st := s.Await("a verdict", func(st upgrade.Status) bool { return len(st.Reports) > 0 && st.Phase == upgrade.PhaseIdle })
		report := st.Reports[len(st.Reports)-1]
		return string(report.Verdict), report.Reason
	}
	report, _ := s.attempt.Verdict()
	return string(report.Verdict), report.Reason
}

// recovers waits until all is well, and clients are answered meanwhile by whoever
// is active: a generation that is about to end is active for as long. It returns
// when that was.
func (s *scene) recovers(r remedy, supervises int, o *observation) time.Time {
	s.Helper()
	for {
		st := s.well()
		at := time.Now()
		o.supervisor = at.Sub(s.injected)
		o.successor = st.PID != supervises
		o.server = s.serverIs(rig.Active(st), r)
		if !s.clients.answered(s.TB, 40) {
			o.server = ""
			return at
		}
		if again := s.well(); rig.Active(again) == rig.Active(st) {
			return time.Now()
		}
	}
}

// remedy does what the service needs to be well.
func (s *scene) remedy(r remedy, o *observation) {
	s.Helper()
	if r == remedyNone {
		return
	}
	<-time.After(lasting) // the time itself is what is wanted: the fault lasts so long at least
	switch r {
	case remedyUndo:
		s.undo()
	case remedyForce, remedyUpgrade:
		words := []string{"upgrade"}
		if r == remedyForce {
			words = append(words, "--force")
		}
		if report, _ := s.Begin(words...).Verdict(); report.Verdict != upgrade.Committed {
			o.remedies = fmt.Sprintf("%s: %s", report.Verdict, report.Reason)
		}
	}
}

// well waits until one generation is active and nothing else goes on.
func (s *scene) well() upgrade.Status {
	s.Helper()
	return s.Await("one active generation and nothing else", func(st upgrade.Status) bool {
		return st.Phase == upgrade.PhaseIdle && st.Restart == nil && len(st.Generations) == 1 && rig.Active(st) != 0
	})
}

// serverIs names the active generation.
func (s *scene) serverIs(active int, r remedy) server {
	switch {
	case active == s.old:
		return serverOld
	case s.attempt != nil && active == s.new:
		return serverNew
	case r == remedyForce || r == remedyUpgrade || s.later && active == s.new+1:
		return serverNext
	}
	return serverRestarted
}

// ordinary upgrades as ever, and waits for the end of the generation before. The
// upgrade may be refused for as long as admission remembers that packets were
// dropped.
func (s *scene) ordinary() string {
	s.Helper()
	for late := time.After(dropsForgotten + time.Second); ; {
		r := s.Upgrade()
		if r.Verdict == upgrade.Committed {
			return string(r.Verdict)
		}
		again := time.After(200 * time.Millisecond)
		if r.Verdict != upgrade.Refused {
			again = nil
		}
		select {
		case <-again:
		case <-late:
			return fmt.Sprintf("%s: %s", r.Verdict, r.Reason)
		}
		if again == nil {
			return fmt.Sprintf("%s: %s", r.Verdict, r.Reason)
		}
	}
}
