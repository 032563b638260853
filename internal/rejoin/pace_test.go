package rejoin

import (
	"testing"
	"time"
)

func TestSearchSlowsDown(t *testing.T) {
	t.Parallel()
	var s pace
	now := time.Now()
	for i, want := range []time.Duration{40, 80, 160, 320, 640, 1000, 1000} {
		if wait, stopped := s.next(nobody, now); wait != want*time.Millisecond || stopped {
			t.Errorf("attempt %d: %v, %v", i, wait, stopped)
		}
	}
	s = pace{}
	if wait, stopped := s.next(refused, now); wait != searchPace || stopped {
		t.Errorf("refused: %v, %v", wait, stopped)
	}
}

func TestFolderMustBeGoneForASecond(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, c := range []struct {
		name  string
		found []finding
		after time.Duration // until it is stopped; 0: never
	}{
		{"gone", []finding{noFolder, noFolder, noFolder, noFolder, noFolder, noFolder}, time.Second},
		{"there in between", []finding{noFolder, noFolder, noFolder, noFolder, nobody, noFolder, noFolder}, 2240 * time.Millisecond},
		{"there again with a supervisor", []finding{noFolder, refused, noFolder}, 0},
		{"gone later", []finding{nobody, nobody, noFolder, noFolder, noFolder, noFolder, noFolder}, 1120 * time.Millisecond},
		{"not gone", []finding{nobody, nobody, trouble, refused, nobody, nobody}, 0},
	} {
		var s pace
		now, after := start, time.Duration(0)
		for _, f := range c.found {
			wait, stopped := s.next(f, now)
			if stopped {
				after = now.Sub(start)
				break
			}
			now = now.Add(wait)
		}
		if after != c.after {
			t.Errorf("%s: stopped after %v, not %v", c.name, after, c.after)
		}
	}
}
