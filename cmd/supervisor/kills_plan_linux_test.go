package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"example.com/supervisor/upgrade"
)

// A deed is what a supervisor does when it is killed.
type deed struct {
	name    string
	kind    deedKind
	program []string        // to upgrade to
	bad     bool            // it is never committed
	phases  []upgrade.Phase // in which the kill comes, if they are reached
}

type deedKind int

const (
	idles deedKind = iota
	upgrades
	rollsBack
	drains         // the old generation, after an upgrade
	replaces       // itself, by reexec
	drainsReplaced // both
	crashes        // or rather, starts a crashed generation again
)

// uncrashed are all deeds but the restart of a generation that has crashed.
func uncrashed(program string) []deed {
	var (
		early = []upgrade.Phase{upgrade.PhaseAdmission, upgrade.PhaseStart}
		late  = []upgrade.Phase{upgrade.PhaseBake, upgrade.PhaseBake, upgrade.PhaseRollback}
		all   = []upgrade.Phase{
			upgrade.PhaseAdmission, upgrade.PhaseStart, upgrade.PhaseReady, upgrade.PhaseOverlap,
			upgrade.PhaseGate, upgrade.PhaseCutOver, upgrade.PhaseBake, upgrade.PhaseIdle,
		}
	)
	bad := func(phases []upgrade.Phase, flags ...string) deed {
		return deed{"an upgrade to a candidate with " + strings.Join(flags, " "), upgrades, append([]string{program}, flags...), true, phases}
	}
	good := func(version string) deed {
		return deed{"an upgrade to version " + version, upgrades, []string{program, "-version", version}, false, all}
	}
	return []deed{
		{name: "rest"},
		good("1"), good("2"), good("3"),
		bad(early, "-fail", "no tables"),
		bad(early, "-crash-before-ready"),
		bad(early, "-hang-before-hello"),
		bad(early, "-never-ready"),
		bad([]upgrade.Phase{upgrade.PhaseStart, upgrade.PhaseReady}, "-unhealthy"),
		bad(late, "-unhealthy-after", "200ms"),
		bad(late, "-unhealthy-after", "200ms"),
		{"a rollback", rollsBack, nil, false, all},
		{"a drain", drains, []string{program, "-version", "4"}, false, nil},
		{"a replacement", replaces, nil, false, nil},
		{"a replacement in a drain", drainsReplaced, []string{program, "-version", "5"}, false, nil},
	}
}

// A kill is one SIGKILL, and those of the supervisors that come next.
type kill struct {
	deed   deed
	phase  upgrade.Phase
	delay  time.Duration // after the phase has begun
	absent time.Duration // how long there is no supervisor
	again  []nextKill
}

// A nextKill hits a supervisor that was started after a kill.
type nextKill struct {
	gathering bool // it comes while that one looks for its generations
	delay     time.Duration
}

func (k kill) String() string {
	return fmt.Sprintf("%s, phase %q, after %v, absent for %v, then %+v", k.deed.name, k.phase, k.delay, k.absent, k.again)
}

// drawKills draws so many kills, those of the next supervisors counted. Every
// deed has its turn before any comes again.
func drawKills(seed, count uint64, deeds []deed) (all []kill) {
	r := rand.New(rand.NewPCG(seed, 0))
	upTo := func(most time.Duration) time.Duration { return time.Duration(r.Int64N(int64(most))) }
	var turn []int
	for count > 0 {
		if len(turn) == 0 {
			turn = r.Perm(len(deeds))
		}
		k := kill{deed: deeds[turn[0]], delay: upTo(60 * time.Millisecond), absent: upTo(120 * time.Millisecond)}
		turn, count = turn[1:], count-1
		switch {
		case len(k.deed.phases) > 0:
			k.phase = k.deed.phases[r.IntN(len(k.deed.phases))]
			if r.IntN(3) == 0 {
				k.delay /= 20 // the cut-over takes no longer
			}
		case k.deed.kind != idles:
			k.delay = upTo(300 * time.Millisecond)
		}
		for count > 0 && r.IntN(3) == 0 {
			next := nextKill{gathering: r.IntN(2) == 0, delay: upTo(200 * time.Millisecond)}
			if next.gathering {
				next.delay /= 10
			}
			k.again, count = append(k.again, next), count-1
		}
		all = append(all, k)
	}
	return all
}
