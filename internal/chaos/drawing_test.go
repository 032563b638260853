package chaos

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// TestSameSeedSameScript holds that a run can be replayed: the same seed draws the
// same script, a longer one begins with the shorter one, and another seed draws
// another one.
func TestSameSeedSameScript(t *testing.T) {
	t.Parallel()
	for _, w := range []world{shellLoop, socketUnit} {
		one, same, other := draw(7, w, 200), draw(7, w, 200), draw(8, w, 200)
		if fmt.Sprint(one) != fmt.Sprint(same) {
			t.Errorf("%s: two scripts of one seed", w)
		}
		if fmt.Sprint(one) == fmt.Sprint(other) {
			t.Errorf("%s: one script of two seeds", w)
		}
		if fmt.Sprint(one[:50]) != fmt.Sprint(draw(7, w, 50)) {
			t.Errorf("%s: a shorter script is another one", w)
		}
	}
	if fmt.Sprint(draw(7, shellLoop, 50)) == fmt.Sprint(draw(7, socketUnit, 50)) {
		t.Error("one script for both worlds")
	}
}

// TestScriptsHaveEveryDeed holds that a script of as many steps as there are deeds
// has each of them, and that of the pairs that may overlap most do in a long one.
func TestScriptsHaveEveryDeed(t *testing.T) {
	t.Parallel()
	for _, w := range []world{shellLoop, socketUnit} {
		want := map[string]bool{}
		for _, d := range catalogue(w) {
			if want[d.name()] {
				t.Errorf("%s is in the catalogue twice", d.name())
			}
			want[d.name()] = true
		}
		for seed := range uint64(20) {
			has := map[string]bool{}
			for _, s := range draw(seed, w, len(want)) {
				for _, a := range s {
					has[a.name()] = true
				}
			}
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if !has[name] {
					t.Errorf("seed %d, %s: no %s", seed, w, name)
				}
			}
		}
	}
}

// TestScriptsFit holds that no step has what cannot be foretold together, and that
// acts have notes of their own.
func TestScriptsFit(t *testing.T) {
	t.Parallel()
	for _, w := range []world{shellLoop, socketUnit} {
		notes := map[string]bool{}
		together := 0
		for _, s := range draw(1, w, 2000) {
			if w == shellLoop && s.has(killsSupervisor) && s.has(killsGeneration) {
				t.Errorf("%s: the last one that has the listener may die:\n%v", w, s)
			}
			if s.has(killsSupervisor) && s.has(removesState, lowersLimit) {
				t.Errorf("%s: without a state there is no way back:\n%v", w, s)
			}
			if len(s) > 1 {
				together++
			}
			for _, a := range s {
				if notes[a.note] {
					t.Errorf("%s is there twice", a.note)
				}
				notes[a.note] = true
			}
		}
		if together < 1000 {
			t.Errorf("%s: deeds overlap in %d of 2000 steps only", w, together)
		}
	}
}
