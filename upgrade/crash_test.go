package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// The explorer of explore_test.go also kills the supervisor in every state, and
// goes on with the next one, which finds this or that of the generations alive.

// unrestored: the state of a machine, written and read, is all of the machine.
func (w *world) unrestored() string {
	written, err := json.Marshal(w.m.State())
	if err != nil {
		return err.Error()
	}
	var read MachineState
	if err := json.Unmarshal(written, &read); err != nil {
		return err.Error()
	}
	got, err := RestoreMachine(w.m.policy, read)
	if err != nil {
		return err.Error()
	}
	want := *w.m
	want.out, want.finished = nil, false // it has only to say so again
	for _, slot := range []*[]*generation{&want.draining, &want.killed} {
		if len(*slot) == 0 {
			*slot = nil
		}
	}
	if !reflect.DeepEqual(got, &want) {
		return fmt.Sprintf("is not what it was when restored from %s", written)
	}
	return ""
}

// crashKey names all of the state that outlives the supervisor.
func (w *world) crashKey() string {
	v := *w
	v.told, v.leaving = nil, nil
	return v.key()
}

// crashes lists what a new supervisor could find: each generation ended, not to
// be spoken to, or as it was; and those that go on, also draining. The ones that
// are being ended share a fate, because they have nothing to do with each other.
func (w *world) crashes() []Recovered {
	all := []Recovered{{}}
	add := func(fates func(s Survivor) [][]Survivor, s Survivor) {
		var longer []Recovered
		for _, r := range all {
			for _, fate := range fates(s) {
				longer = append(longer, Recovered{slices.Concat(r.Survivors, fate)})
			}
		}
		all = longer
	}
	var ending, late []Survivor
	for role, g := range w.m.all {
		s := Survivor{Generation: g.number, Ready: g.ready, CanPause: g.canPause}
		if role == RoleDraining || role == RoleKilled {
			s.Draining = true
			ending = append(ending, s)
			s.Ready = true
			late = append(late, s)
			continue
		}
		add(func(s Survivor) [][]Survivor {
			leaves, ready := s, s
			leaves.Draining, ready.Ready, ready.CanPause = true, true, true
			fates := [][]Survivor{nil, {{Generation: s.Generation, Mute: true}}, {s}, {leaves}}
			if !s.Ready {
				fates = append(fates, []Survivor{ready})
			}
			return fates
		}, s)
	}
	if len(ending) > 0 {
		add(func(Survivor) [][]Survivor {
			mute := slices.Clone(ending)
			for i := range mute {
				mute[i] = Survivor{Generation: mute[i].Generation, Mute: true}
			}
			return [][]Survivor{nil, mute, ending, late}
		}, Survivor{})
	}
	return all
}

// crash is the world after the supervisor was killed and the next one has
// counted who is alive; and what is wrong with it, "" if nothing is.
func (w *world) crash(e Recovered) (*world, string) {
	m, err := RestoreMachine(w.m.policy, w.m.State())
	if err != nil {
		return w, err.Error()
	}
	v := &world{m: m, dryRuns: w.dryRuns, told: maps.Clone(w.told), leaving: map[int]bool{}, orders: map[int]uint64{}, open: slices.Clone(w.open),
		kinds: w.kinds, decided: w.decided, requests: w.requests}
	for _, s := range e.Survivors {
		v.alive = append(v.alive, s.Generation)
		if s.Draining {
			v.leaving[s.Generation] = true
		}
		switch v.told[s.Generation] {
		case toldPause: // it accepts again
			v.told[s.Generation] = toldNothing
		case toldKill: // perhaps it was not
			v.told[s.Generation] = toldEnd
		}
	}
	slices.Sort(v.alive)
	if wrong := v.step(e); wrong != "" {
		return v, wrong
	}
	return v, w.unsettled(v, e)
}

// unsettled checks what the next supervisor has made, in v, of what was in w.
func (w *world) unsettled(v *world, e Recovered) string {
	m := v.m
	if m.stopping || m.generations == 0 {
		return ""
	}
	resuming := m.paused != nil && m.phase == PhaseRollback
	if m.phase != PhaseIdle && m.phase != PhaseRollback {
		return fmt.Sprintf("is still in phase %s", m.phase)
	}
	if m.active == nil && !resuming && m.restarting.generation == nil {
		return "nobody accepts, and nobody is started"
	}
	for _, s := range e.Survivors {
		was, is := w.m.role(s.Generation), m.role(s.Generation)
		ready := s.Ready || s.Mute && w.m.find(s.Generation).ready
		ended := is == RoleDraining || is == RoleKilled
		switch {
		case was == RoleDraining || was == RoleKilled:
			if !ended {
				return fmt.Sprintf("generation %d was %s and is %s", s.Generation, was, is)
			}
		case s.Draining:
		case ready && m.active == nil && !resuming:
			return fmt.Sprintf("nobody accepts, although generation %d could", s.Generation)
		case was == RoleActive && w.m.phase != PhaseBake && w.m.phase != PhaseRollback && is != RoleActive && !(w.m.restarting != nil && m.active != nil):
			return fmt.Sprintf("generation %d was active, lives, and is %s", s.Generation, is)
		case was == RolePaused && !resuming:
			return fmt.Sprintf("generation %d was paused, lives, and is %s", s.Generation, is)
		case m.phase == PhaseIdle && is != RoleActive && !ended:
			return fmt.Sprintf("generation %d goes on as %s beside the active one", s.Generation, is)
		}
	}
	return ""
}
