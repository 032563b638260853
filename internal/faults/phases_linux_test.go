package faults

import (
	"os"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// A passage is how a phase is held while a fault falls in it.
type passage struct {
	// step is the last that the upgrade tells in the phase.
	step upgrade.Phase
	// flags of the supervisor make the phase last.
	flags []string
	// words are those of the upgrade, besides.
	words []string
	// hold is called before the upgrade, reach until the phase is there, release when
	// the fault has fallen.
	hold, reach, release func(*scene)
}

// passageOf is that of p; idle has none.
func passageOf(p phase) passage {
	nothing := func(*scene) {}
	switch p {
	case starting:
		return passage{step: upgrade.PhaseStart,
			hold:    func(s *scene) { s.holdsFromStart("ready") },
			reach:   func(s *scene) { s.order(s.new, "await ready") },
			release: func(s *scene) { s.tell(s.new, "go ready") },
		}
	case ready:
		return passage{step: upgrade.PhaseReady,
			hold:    func(s *scene) { s.holdsFromStart("probe") },
			reach:   func(s *scene) { s.order(s.new, "await probe") },
			release: func(s *scene) { s.tell(s.new, "go probe") },
		}
	case overlap:
		return passage{step: upgrade.PhaseOverlap, flags: []string{"--overlap", "1s"}, hold: nothing, reach: nothing, release: nothing}
	case gate:
		return passage{step: upgrade.PhaseGate, flags: []string{"--settle", "1s"}, hold: nothing, reach: nothing, release: nothing}
	case cutOver:
		return passage{step: upgrade.PhaseCutOver,
			hold:    func(s *scene) { s.order(s.old, "hold paused") },
			reach:   func(s *scene) { s.order(s.old, "await paused") },
			release: func(s *scene) { s.tell(s.old, "go paused") },
		}
	case bake:
		return passage{step: upgrade.PhaseBake, hold: nothing, reach: nothing, release: nothing}
	case commit:
		return passage{step: upgrade.PhaseCommit,
			hold:    func(s *scene) { s.order(s.old, "hold drain") },
			reach:   func(s *scene) { s.order(s.old, "await drain") },
			release: func(s *scene) { s.tell(s.old, "go drain") },
		}
	case drain:
		return passage{step: upgrade.PhaseDrain, flags: []string{"--bake", "50ms", "--drain-timeout", "4s"}, words: []string{"--wait-drain"},
			hold: nothing, reach: func(s *scene) { s.order(s.old, "draining") }, release: nothing,
		}
	}
	return passage{step: upgrade.PhaseIdle, hold: nothing, reach: nothing, release: nothing}
}

// holdsFromStart has the next generation wait at the station.
func (s *scene) holdsFromStart(station string) {
	s.Helper()
	if err := os.WriteFile(s.file("hold."+station, s.new), nil, 0o600); err != nil {
		s.Fatal(err)
	}
}

// fellIn tells in which phase the fault fell: the last of which the upgrade told
// before.
func (s *scene) fellIn() string {
	if s.attempt == nil {
		return string(upgrade.PhaseIdle)
	}
	last, steps := upgrade.PhaseIdle, s.attempt.Steps()
	began := beganBy(steps, s.injected)
	for _, step := range steps {
		if began.IsZero() || began.Add(elapsed(step)).After(s.injected) {
			break
		}
		last = step.Phase
	}
	return string(last)
}

// beganBy is when the upgrade began, by the steps that were read until then: they
// tell how long it took to them, and one was read at once. It is not the time of day,
// which a cell that runs beside may have set. It is zero if there is no such step.
func beganBy(steps []rig.Arrival, until time.Time) (began time.Time) {
	for _, step := range steps {
		if at := step.At.Add(-elapsed(step)); step.At.Before(until) && (began.IsZero() || at.Before(began)) {
			began = at
		}
	}
	return began
}

func elapsed(step rig.Arrival) time.Duration {
	return time.Duration(step.ElapsedSeconds * float64(time.Second))
}
