package upgrade

import (
	"slices"
	"testing"
	"time"
)

// TestPolicyOfAnUpgradeThatFailsIsGone: what was to hold from an upgrade on holds for
// its candidate, and afterwards only if it is committed.
func TestPolicyOfAnUpgradeThatFailsIsGone(t *testing.T) {
	t.Parallel()
	m, err := NewMachine(Policy{})
	if err != nil {
		t.Fatal(err)
	}
	first := testRelease("v1")
	first.Listen = []string{"a=tcp://127.0.0.1:1", "b=tcp://127.0.0.1:2"}
	m.Step(Boot{Release: first})
	m.Step(SaidReady{1, true})
	m.Step(ProbePassed{1})
	next := testRelease("v2")
	next.Listen = []string{"c=tcp://127.0.0.1:3", "a=tcp://127.0.0.1:1"}
	for request, bake := range []time.Duration{0, 7, 9} {
		if request == 0 {
			continue
		}
		policy := Policy{Bake: bake * time.Second}
		m.Step(Requested{Request: uint64(request), Kind: KindUpgrade})
		m.Step(Admitted{Request: uint64(request), Release: next, Policy: &policy})
		if m.policy.Bake != policy.Bake {
			t.Errorf("the bake is %v", m.policy.Bake)
		}
		candidate := m.candidate.number
		if got := m.leaves(next); len(got) != 0 {
			t.Errorf("while it runs %v are left", got)
		}
		m.Step(Exited{Generation: candidate, Reason: "exited"})
		if m.policy.Bake != 0 {
			t.Errorf("the bake is %v although the upgrade has failed", m.policy.Bake)
		}
		if got := m.leaves(next); !slices.Equal(got, []string{"c"}) {
			t.Errorf("when it has ended %v are left", got)
		}
	}
	if got := m.leaves(testRelease("v0")); got != nil {
		t.Errorf("of a release that does not say %v are left", got)
	}
}
