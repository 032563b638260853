package faults

import "testing"

// TestMissedFaultIsTakenBack: a supervisor without descriptors could not be told to
// stop, and the run would fail by that instead of being tried again.
func TestMissedFaultIsTakenBack(t *testing.T) {
	t.Parallel()
	f := fault{inject: func(s *scene) {
		s.limit(outOfDescriptors)
		s.missed = true
	}, undo: (*scene).takeBack}
	if o := play(t, build(t), f, idle, expectation{}); !o.missed {
		t.Errorf("the fault fell in %s", o.phase)
	}
}
