package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/upgrade"
)

// A world is who opens the service's listener.
type world string

const (
	// shellLoop: the supervisor does, and the next one gets it back from the
	// generations. So these are not killed while there may be no supervisor.
	shellLoop world = "shell loop"
	// socketUnit: the service manager does, and passes it.
	socketUnit world = "socket unit"
)

// An act is a deed with its moment.
type act struct {
	deed
	// phase is when the step's first caller must have been told of it before the
	// time is counted; "" for the begin of the step.
	phase upgrade.Phase
	after time.Duration
	// note names it, and the release that it asks for.
	note string
}

func (a act) String() string {
	when := fmt.Sprintf("at %v", a.after)
	if a.phase != "" {
		when = fmt.Sprintf("%v after %s", a.after, a.phase)
	}
	return fmt.Sprintf("%-5s %s: %v", a.note, when, a.deed)
}

// A step are acts that overlap. When they are over, the service must be well.
type step []act

func (s step) String() string {
	lines := make([]string, 0, len(s))
	for _, a := range s {
		lines = append(lines, a.String())
	}
	return strings.Join(lines, "\n")
}

// has reports whether one of these is in s.
func (s step) has(kinds ...kind) bool {
	return slices.ContainsFunc(s, func(a act) bool { return slices.Contains(kinds, a.kind) })
}

// phases are those in which an act may be drawn to come.
func phases() []upgrade.Phase {
	return []upgrade.Phase{
		upgrade.PhaseAdmission, upgrade.PhaseStart, upgrade.PhaseReady, upgrade.PhaseOverlap, upgrade.PhaseGate,
		upgrade.PhaseCutOver, upgrade.PhaseBake, upgrade.PhaseBake, upgrade.PhaseCommit,
	}
}

// draw draws a script. Every deed of the catalogue is the first of a step before any
// is again; those that come besides are any that fit.
func draw(seed uint64, w world, steps int) []step {
	r := rand.New(rand.NewPCG(seed, uint64(len(w))))
	var script []step
	var turn []int
	all := catalogue(w)
	for n := range steps {
		if len(turn) == 0 {
			turn = r.Perm(len(all))
		}
		s := step{{deed: all[turn[0]].drawn(r)}}
		turn = turn[1:]
		if needsUpgrade(s[0].deed) { // or there is nobody to hit
			s = step{{deed: deed{kind: upgrades, protocol: "native"}}, within(r, s[0].deed)}
		}
		for range r.IntN(4) {
			if a := moment(r, s, all[r.IntN(len(all))].drawn(r)); fits(w, s, a.deed) {
				s = append(s, a)
			}
		}
		for i := range s {
			s[i].note = fmt.Sprintf("%d.%d", n+1, i+1)
		}
		script = append(script, s)
	}
	return script
}

// needsUpgrade reports whether d can only be done while an upgrade is under way.
func needsUpgrade(d deed) bool {
	return (d.kind == killsGeneration || d.kind == stopsGeneration) && d.role != upgrade.RoleActive
}

// within gives a deed the phase in which there is somebody for it.
func within(r *rand.Rand, d deed) act {
	phase := map[upgrade.Role][]upgrade.Phase{
		upgrade.RoleCandidate: {upgrade.PhaseReady, upgrade.PhaseOverlap, upgrade.PhaseGate},
		upgrade.RolePaused:    {upgrade.PhaseBake},
		upgrade.RoleDraining:  {upgrade.PhaseCommit},
	}[d.role]
	return act{deed: d, phase: phase[r.IntN(len(phase))], after: time.Duration(r.Int64N(int64(20 * time.Millisecond)))}
}

// moment draws when a further act of s comes.
func moment(r *rand.Rand, s step, d deed) act {
	a := act{deed: d, after: time.Duration(r.Int64N(int64(600 * time.Millisecond))).Truncate(10 * time.Microsecond)}
	if s[0].asks() && r.IntN(2) == 0 {
		all := phases()
		a.phase, a.after = all[r.IntN(len(all))], a.after/10
	}
	return a
}

// fits reports whether what may come of d in that step can be foretold.
func fits(w world, s step, d deed) bool {
	is := func(kinds ...kind) bool { return slices.Contains(kinds, d.kind) }
	either := func(one, other []kind) bool {
		return is(one...) && s.has(other...) || is(other...) && s.has(one...)
	}
	kills, deaths := []kind{killsSupervisor}, []kind{killsGeneration}
	config := []kind{addsListener, removesListener, spoilsConfig}
	switch {
	case w == shellLoop && either(kills, deaths): // the last one that has the listener may die
	case either([]kind{lowersLimit, removesState}, []kind{killsSupervisor, replaces}): // there is no state, and all are strangers
	case either(kills, kills) || either([]kind{lowersLimit}, []kind{lowersLimit}): // one deed has all of it
	case either(config, config):
	default:
		return true
	}
	return false
}
