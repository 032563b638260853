package orphan

import (
	"slices"
	"testing"
	"time"
)

const ours = 50 // the process group

func judged(s suspects, now time.Time, zombies ...Process) []int {
	var all []int
	for _, p := range s.judge(zombies, ours, func(pid int) bool { return pid == 7 }, now) {
		all = append(all, p.PID)
	}
	return all
}

func TestSuspectsAreGivenTime(t *testing.T) {
	t.Parallel()
	s, now := suspects{}, time.Now()
	known, foreign := Process{PID: 7, group: 60}, Process{PID: 8, group: 60}
	leader, plain := Process{PID: 9, group: 9, Start: 1}, Process{PID: 10, group: ours, Start: 1}
	if got := judged(s, now, known, foreign, leader, plain); !slices.Equal(got, []int{8}) {
		t.Errorf("at once: %v, want that of a foreign group", got)
	}
	for range 100 { // looks that are close together are one
		if got := judged(s, now.Add(lookApart-1), leader, plain); len(got) > 0 {
			t.Fatalf("reaped too early: %v", got)
		}
	}
	// A process that was stopped for an hour has seen nothing in it.
	now = now.Add(time.Hour)
	for range suspectLooks - 2 {
		if got := judged(s, now, leader, plain); len(got) > 0 {
			t.Fatalf("reaped after a stop: %v", got)
		}
		now = now.Add(lookApart)
	}
	leader.Start = 2 // another one with this number
	if got := judged(s, now, leader, plain); !slices.Equal(got, []int{10}) {
		t.Errorf("after %d looks: %v", suspectLooks, got)
	}
	if judged(s, now); len(s) > 0 {
		t.Errorf("remembers %v", s)
	}
}
