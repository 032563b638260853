package faults

import (
	"fmt"
	"syscall"
	"testing"
)

// A fault is a way to fail: a row of the matrix.
type fault struct {
	name string // as in the matrix
	// victim is the generation that it concerns, of which "its own" is told; 0: none.
	victim func(*scene) int
	// inject makes it happen. It returns when it has.
	inject func(*scene)
	// undo takes it back; nil if it does not last, or ends with its process.
	undo func(*scene)
	// fatal: its process ends in the midst of what it does.
	fatal bool
	// turns: a fault of the new generation that ends an upgrade as soon as it is seen.
	turns bool
	// keeps: a candidate that starts stays where it is held, because it fails by that.
	keeps bool
	// warm is how many requests are answered before it, so that the supervisor knows
	// what is usual: 120 by default.
	warm uint64
	// mute: who asked for the upgrade cannot tell its verdict.
	mute bool
	// flags are those of the supervisor that it needs, but for those of the phase; $DIR
	// is the scene's folder.
	flags []string
	// words are those of the upgrade that it needs; $DIR as above.
	words []string
	// before prepares what it needs before the supervisor starts; nil: nothing.
	before func(testing.TB, *scene)
	// passage holds a phase in another way than passageOf; nil: in none.
	passage func(phase) (passage, bool)
	// notRun says why it cannot be run here, "" if it can; nil: it can everywhere.
	notRun func() string
}

// passageOf is how a phase is held for the fault.
func (f fault) passageOf(p phase) passage {
	if f.passage != nil {
		if special, ok := f.passage(p); ok {
			return special
		}
	}
	return passageOf(p)
}

// faults are all rows, in no order.
func faults() (all []fault) {
	for _, g := range []struct {
		word string
		of   func(*scene) int
	}{
		{"new", func(s *scene) int { return s.new }},
		{"old", func(s *scene) int { return s.old }},
	} {
		for _, f := range append(generationFaults(g.of), memoryFaults(g.of)...) {
			f.name = fmt.Sprintf(f.name, g.word)
			f.victim = g.of
			all = append(all, f)
		}
	}
	all = append(all, supervisorFaults()...)
	all = append(all, programFaults()...)
	all = append(all, clockFaults()...)
	return append(all, callerFaults()...)
}

// generationFaults are those of one generation; %s in a name is which.
func generationFaults(of func(*scene) int) []fault {
	order := func(what string) func(*scene) { return func(s *scene) { s.order(of(s), what) } }
	ends := func(what string) func(*scene) { return func(s *scene) { s.orderToEnd(of(s), what) } }
	signal := func(sig syscall.Signal) func(*scene) { return func(s *scene) { s.signal(of(s), sig) } }
	return []fault{
		{name: "the %s generation exits", inject: ends("exit"), fatal: true, turns: true},
		{name: "the %s generation is killed (SIGKILL)", inject: signal(syscall.SIGKILL), fatal: true, turns: true},
		{name: "the %s generation is stopped (SIGSTOP)", inject: signal(syscall.SIGSTOP), undo: signal(syscall.SIGCONT), fatal: true, flags: watchful()},
		{name: "the %s generation hangs", inject: order("hang"), fatal: true, keeps: true, flags: watchful()},
		{name: "the handlers of the %s generation hang", inject: order("block-handlers"), fatal: true, warm: 500, flags: append(watchful(), "--bake", "3s")},
		{name: "the %s generation closes its listener", inject: order("close"), turns: true},
		{name: "the %s generation calls shutdown(2) on it", inject: order("shutdown")},
		{name: "the %s generation clears O_NONBLOCK", inject: order("set-blocking")},
		{name: "the %s generation shrinks the backlog", inject: order("shrink")},
		{name: "the %s generation leaks descriptors", inject: order("leak")},
		{name: "the %s generation exhausts its descriptors", inject: order("exhaust"), flags: watchful()},
		{name: "the %s generation forks holders of the listener", inject: order("fork")},
		{name: "the %s generation ignores SIGTERM and the drain", inject: order("ignore-term"), fatal: true},
		{name: "the %s generation lies on the channel", inject: order("lie"), fatal: true, keeps: true, flags: watchful()},
		{name: "the %s generation floods the channel", inject: order("flood"), turns: true},
		{name: "the %s generation stops reading the channel", inject: order("deaf"), undo: func(s *scene) { s.tell(of(s), "hear") }},
	}
}
