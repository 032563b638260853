package upgrade

import (
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// TestFiguresOfOpenConnections: a child that knows no more than its open connections
// has accepted nothing that anybody counts, and one listener that it cannot look at
// makes the sum unknown.
func TestFiguresOfOpenConnections(t *testing.T) {
	t.Parallel()
	index, now := map[string]int{"http": 0, "admin": 1}, time.Now()
	f := figures{activeOnly: true}
	say := func(all ...fdpass.ListenerStats) { f.set(fdpass.Stats{Listeners: all}, index, now) }
	sum := func() (int64, bool) {
		accepted, active := f.sums(false, len(index))
		if accepted != nil {
			t.Errorf("it has accepted %d", *accepted)
		}
		return orZero(active), active != nil
	}
	say(fdpass.ListenerStats{Name: "admin", Active: 2, Accepted: 99}, fdpass.ListenerStats{Name: "made up", Active: 5})
	if n, known := sum(); known {
		t.Errorf("%d are open, although nothing was said of one listener", n)
	}
	say(fdpass.ListenerStats{Name: "http", Active: 3})
	if n, known := sum(); n != 5 || !known {
		t.Errorf("%d are open, %t; want 5", n, known)
	}
	if all := f.reported(index); len(all) != 2 || all[0].Name != "http" || all[0].Accepted != nil {
		t.Errorf("%+v", all)
	}
	if n, known := f.left(len(index), now.Add(fresh)); n != 5 || !known {
		t.Errorf("%d were left, %t; want 5", n, known)
	}
	if n, known := f.left(len(index), now.Add(fresh+1)); known {
		t.Errorf("%d were left, as said long ago", n)
	}
	say(fdpass.ListenerStats{Name: "http", Unknown: true})
	if n, known := sum(); known {
		t.Errorf("%d are open, although one listener is not known any more", n)
	}
	reporting := figures{}
	reporting.set(fdpass.Stats{Listeners: []fdpass.ListenerStats{{Name: "http", Accepted: 9, Active: 1}}}, index, now)
	if accepted, active := reporting.sums(true, len(index)); orZero(accepted) != 9 || orZero(active) != 1 {
		t.Errorf("one that reports: %v, %v", accepted, active)
	}
	if _, known := reporting.left(len(index), now); known {
		t.Error("what one that reports has cut is its own word")
	}
}

func TestEndOfADrain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		g    generation
		e    Exited
		want drainEnd
	}{
		"as it was told":                  {generation{drained: true, cut: 2}, Exited{Clean: true, Open: 7, OpenKnown: true}, drainEnd{cut: 2}},
		"it does not know":                {generation{drained: true, cutUnknown: true}, Exited{Clean: true}, drainEnd{cutUnknown: true}},
		"without a word":                  {generation{}, Exited{Clean: true, Open: 7, OpenKnown: true}, drainEnd{}},
		"killed, and nobody looked":       {generation{}, Exited{Killed: true}, drainEnd{cutUnknown: true}},
		"killed":                          {generation{}, Exited{Killed: true, Open: 7, OpenKnown: true}, drainEnd{cut: 7}},
		"killed with nothing open":        {generation{}, Exited{Killed: true, OpenKnown: true}, drainEnd{}},
		"a status, and nothing was open":  {generation{}, Exited{OpenKnown: true}, drainEnd{}},
		"a status, and something was":     {generation{}, Exited{Open: 7, OpenKnown: true}, drainEnd{cutUnknown: true}},
		"told twice":                      {generation{terminated: true}, Exited{Clean: true, Open: 7, OpenKnown: true}, drainEnd{cut: 7}},
		"told twice, and nobody looked":   {generation{terminated: true}, Exited{Clean: true}, drainEnd{cutUnknown: true}},
		"mute, and something was":         {generation{mute: true}, Exited{Clean: true, Open: 7, OpenKnown: true}, drainEnd{cutUnknown: true}},
		"mute, and nothing was open then": {generation{mute: true}, Exited{Clean: true, OpenKnown: true}, drainEnd{}},
	} {
		if got := *c.g.endOf(c.e); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
