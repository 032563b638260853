package health

import (
	"errors"
	"testing"
	"time"
)

func TestSettling(t *testing.T) {
	no := errors.New("no")
	type seen struct {
		at      time.Duration
		answer  error
		wait    time.Duration
		settled bool
	}
	for name, steps := range map[string][]seen{
		"well for the window": {{0, nil, 10, false}, {4, nil, 6, false}, {10, nil, 0, true}},
		"late observation":    {{0, nil, 10, false}, {25, nil, 0, true}},
		"a no begins it anew": {{0, nil, 10, false}, {9, no, 10, false}, {10, nil, 10, false}, {19, nil, 1, false}, {20, nil, 0, true}},
		"never well":          {{0, no, 10, false}, {10, no, 10, false}},
	} {
		s := Settling{Window: 10}
		began := time.Now()
		for i, step := range steps {
			wait, settled := s.Observe(began.Add(step.at), step.answer)
			if wait != step.wait || settled != step.settled {
				t.Errorf("%s, step %d: got %d %v, want %d %v", name, i, wait, settled, step.wait, step.settled)
			}
		}
	}
}

func TestStreakOfTheZeroValueGivesUpAtOnce(t *testing.T) {
	no := errors.New("no")
	var s Streak
	if err := s.Observe(nil); err != nil {
		t.Errorf("yes: %v", err)
	}
	if err := s.Observe(no); err != no {
		t.Errorf("error %v, want the reason as it is", err)
	}
}
