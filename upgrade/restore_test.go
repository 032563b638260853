package upgrade

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// lived plays events that all machines accept and returns the machine.
func lived(t testing.TB, events ...Event) *Machine {
	t.Helper()
	m, err := NewMachine(Policy{Bake: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		m.Step(e)
	}
	return m
}

// Conversations that lead to this or that.
var (
	toIdle = []Event{Boot{Release: testRelease("v1")}, SaidReady{1, true}, ProbePassed{1}}
	toGate = slices.Concat(toIdle, []Event{
		Requested{Request: 1, Kind: KindUpgrade, WaitDrain: true, Program: &Program{Command: []string{"v2", "-x"}, Env: []string{"A=1"}}},
		Admitted{1, testRelease("v2")}, SaidReady{2, true}, ProbePassed{2}})
	toBake     = slices.Concat(toGate, []Event{GateOpened{2, "r"}, SaidPaused{1, 5}})
	toRollback = slices.Concat(toBake, []Event{Tripped{2, "r"}})
)

// busy is in the bake of a second upgrade while the end of the first candidate,
// which failed, is waited for.
func busy(t testing.TB) *Machine {
	t.Helper()
	m := lived(t, toGate...)
	m.Step(GateShut{2, "r"})
	for _, e := range []Event{
		Requested{Request: 2, Kind: KindUpgrade, Timeout: time.Minute}, Admitted{2, testRelease("v3")},
		SaidReady{3, true}, ProbePassed{3}, GateOpened{3, "r"},
	} {
		m.Step(e)
	}
	m.Step(SaidPaused{1, uint64(m.active.command)})
	if m.phase != PhaseBake || len(m.draining) != 1 {
		t.Fatalf("phase %s, %d drain", m.phase, len(m.draining))
	}
	return m
}

func TestStateSharesNothingWithItsMachine(t *testing.T) {
	t.Parallel()
	m := busy(t)
	s, before := m.State(), m.State()
	scribble(reflect.ValueOf(&s).Elem())
	if after := m.State(); !reflect.DeepEqual(after, before) {
		t.Errorf("writing to a state changed the machine:\n%+v\n%+v", after, before)
	}
	restored, err := RestoreMachine(m.policy, before)
	if err != nil {
		t.Fatal(err)
	}
	want := m.State()
	scribble(reflect.ValueOf(&before).Elem())
	if got := restored.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("writing to a state changed the machine that was restored from it:\n%+v\n%+v", got, want)
	}
}

// scribble writes to everything that can be reached from v.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			scribble(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	default:
		v.SetZero()
	}
}

func TestRestoreMachineRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(s *MachineState)
		want  string
	}{
		"in two slots":              {func(s *MachineState) { s.Draining[0].Number = 1 }, "generation 1 is both paused and draining"},
		"a number not given":        {func(s *MachineState) { s.Active.Number = 4 }, "generation 4 is active, and the numbers given are 1 to 3"},
		"number 0":                  {func(s *MachineState) { s.Active.Number = 0 }, "generation 0 is active"},
		"negative generations":      {func(s *MachineState) { s.Generations = -1 }, "-1 generations"},
		"all numbers given":         {func(s *MachineState) { s.Serial = 1 << 63 }, "timers cannot have been set"},
		"negative failures":         {func(s *MachineState) { s.Failures = -1 }, "-1 failures"},
		"runs nothing":              {func(s *MachineState) { s.Active.Release.Command = nil }, "generation 3 runs nothing"},
		"no path":                   {func(s *MachineState) { s.Release.Path = "" }, "a committed release has no path"},
		"active and ending":         {func(s *MachineState) { s.Active.Terminated = true }, "generation 3 is active and is being ended"},
		"paused, never ready":       {func(s *MachineState) { s.Paused.Ready = false }, "generation 1 is paused and never was ready"},
		"drain without a deadline":  {func(s *MachineState) { s.Draining[0].Timer = 0 }, "generation 2 drains without a deadline"},
		"killed with a deadline":    {func(s *MachineState) { s.Killed, s.Draining = s.Draining, nil }, "generation 2 is killed and has a deadline"},
		"negative cut":              {func(s *MachineState) { s.Draining[0].Cut = -1 }, "generation 2 cut -1"},
		"timer not set":             {func(s *MachineState) { s.Deadline = s.Serial + 1 }, "and the highest that was set is"},
		"timer of two":              {func(s *MachineState) { s.Deadline = s.Draining[0].Timer }, "is awaited by two"},
		"request 0":                 {func(s *MachineState) { s.Request.Request = 0 }, "a request has no number"},
		"request of no kind":        {func(s *MachineState) { s.Request.Kind = "party" }, `request 2 is a "party"`},
		"request to the future":     {func(s *MachineState) { s.Request.To = 9 }, "leads from generation 1 to 9"},
		"request from nothing":      {func(s *MachineState) { s.Request.FromRelease = nil }, "leads from no release"},
		"request to no release":     {func(s *MachineState) { s.Request.ToRelease = nil }, "with another release than it has"},
		"request under way decided": {func(s *MachineState) { s.Request.Verdict = Committed }, "request 2 is committed and is under way"},
		"waiter undecided":          {func(s *MachineState) { s.Draining[0].Waiter.Verdict = "" }, "with no verdict"},
		"waiter asks twice":         {func(s *MachineState) { s.Draining[0].Waiter.Request = 2 }, "one is held twice"},
		"undone in the bake":        {func(s *MachineState) { s.Request.Undo = 3 }, "is being undone in phase bake"},
		"unknown phase":             {func(s *MachineState) { s.Phase = "lunch" }, `there is no phase "lunch"`},
		"no such step":              {func(s *MachineState) { s.BakeStep = 3 }, "a bake has no step 3"},
		"idle with a request":       {func(s *MachineState) { s.Phase = PhaseIdle }, "phase idle has a request"},
		"no request":                {func(s *MachineState) { s.Request = nil }, "phase bake, with a request: false"},
		"no deadline":               {func(s *MachineState) { s.Deadline = 0 }, "phase bake has no deadline"},
		"gate without a candidate":  {func(s *MachineState) { s.Phase = PhaseGate }, "phase gate, with an active generation: true, a candidate: false"},
		"candidate and paused":      {func(s *MachineState) { s.Candidate = s.Active; s.Active = nil }, "phase bake, with an active generation: false"},
		"restart without a timer": {func(s *MachineState) {
			s.Phase, s.Request.Reason, s.Paused, s.Restarting = PhaseRollback, "r", nil, &RestartState{}
		},
			"a restart has no timer"},
		"stopping and serving": {func(s *MachineState) { s.Stopping = true }, "is being stopped and goes on"},
		"failed and serving":   {func(s *MachineState) { s.Failure = "r" }, "has failed (r) and is not being stopped"},
		"active, no release": {func(s *MachineState) {
			s.Release, s.Phase, s.Request, s.Candidate, s.Paused = nil, PhaseStart, nil, s.Paused, nil
			s.Candidate.Ready = false
		},
			"no release was committed"},
		"nobody serves": {func(s *MachineState) {
			s.Phase, s.Request, s.Deadline, s.Active, s.Paused = PhaseIdle, nil, 0, nil, nil
		},
			"no generation is active, and none is to be"},
		"release of nobody": {func(s *MachineState) {
			*s = MachineState{Phase: PhaseIdle, Release: s.Release, Restarting: &RestartState{Timer: 1}, Serial: 1}
		},
			"no generation was started"},
		"first one gone": {func(s *MachineState) { *s = MachineState{Phase: PhaseIdle, Generations: 1} }, "the first generation is gone"},
		"empty":          {func(s *MachineState) { *s = MachineState{} }, `there is no phase ""`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := busy(t).State()
			test.spoil(&s)
			_, err := RestoreMachine(Policy{}, s)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestRestoreMachineChecksThePolicy(t *testing.T) {
	t.Parallel()
	if _, err := RestoreMachine(Policy{Bake: -1}, MachineState{Phase: PhaseIdle}); err == nil || !strings.Contains(err.Error(), "Bake") {
		t.Errorf("got %v", err)
	}
}

func TestHandOverObjection(t *testing.T) {
	t.Parallel()
	crash := Exited{Generation: 1, Reason: "was killed"}
	tests := map[string]struct {
		events []Event
		want   string
	}{
		"before the first":        {nil, "the first generation is not ready yet"},
		"first generation starts": {toIdle[:1], "the first generation is not ready yet"},
		"idle":                    {toIdle, ""},
		"gate":                    {toGate, "upgrade 1 is running (gate)"},
		"bake":                    {toBake, "upgrade 1 is running (bake)"},
		"drain with a waiter":     {append(slices.Clone(toGate), GateShut{2, "r"}), ""},
		"back-off":                {append(slices.Clone(toIdle), crash), ""},
		"restart":                 {append(slices.Clone(toIdle), crash, TimerFired{2}), "generation 2 is being started in place of one that ended"},
		"stopping":                {append(slices.Clone(toIdle), StopRequested{}), "the supervisor is stopping"},
		"ended":                   {append(slices.Clone(toIdle), StopRequested{}, crash), "the supervisor has ended"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := lived(t, test.events...).HandOverObjection(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// restorable are machines to start from.
func restorable(t testing.TB) []*Machine {
	t.Helper()
	return []*Machine{
		lived(t), lived(t, toIdle[:1]...), lived(t, toIdle...), lived(t, toGate...), lived(t, toBake...), lived(t, toRollback...), busy(t),
		lived(t, append(slices.Clone(toRollback), Exited{Generation: 1, Reason: "r"})...), lived(t, append(slices.Clone(toBake), StopRequested{Now: true})...),
	}
}

// TestWhatIsRestoredIsSafe changes one thing in a state at a time.
func TestWhatIsRestoredIsSafe(t *testing.T) {
	t.Parallel()
	accepted := 0
	for _, base := range restorable(t) {
		for place := range uint8(120) {
			for value := range uint8(12) {
				accepted += safe(t, base.State(), []byte{place, value}, 0b10_00_01_11*uint64(value))
			}
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d of the states were restored", accepted)
	}
}

// FuzzRestoreMachine changes several.
func FuzzRestoreMachine(f *testing.F) {
	bases := restorable(f)
	for base := range bases {
		f.Add(uint8(base), []byte{1, 2, 3, 4}, uint64(0b01_10_01))
	}
	f.Fuzz(func(t *testing.T, base uint8, edits []byte, fates uint64) {
		safe(t, bases[int(base)%len(bases)].State(), edits, fates)
	})
}

// safe edits a state, and if that can be restored kills its supervisor once
// more, and lets time end it. It returns 1 if it could.
func safe(t *testing.T, s MachineState, edits []byte, fates uint64) int {
	t.Helper()
	for ; len(edits) >= 2; edits = edits[2:] {
		edit(&s, edits[0], edits[1])
	}
	m, err := RestoreMachine(Policy{Bake: time.Second}, s)
	if err != nil {
		return 0
	}
	w := worldOf(m)
	v, wrong := w.crash(someOf(m, fates))
	for _, wrong := range []string{w.unrestored(), w.unanswered(), w.unstoppable(), wrong, v.unanswered(), v.unstoppable()} {
		if wrong != "" {
			t.Fatalf("%s, restored from %+v and killed with %b", wrong, s, fates)
		}
	}
	return 1
}

// edit changes one place of s.
func edit(s *MachineState, place, value uint8) {
	var places []reflect.Value
	var collect func(v reflect.Value)
	collect = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				collect(v.Field(i))
			}
			return
		case reflect.Pointer:
			if !v.IsNil() {
				collect(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				collect(v.Index(i))
			}
		}
		places = append(places, v)
	}
	collect(reflect.ValueOf(s).Elem())
	change(places[int(place)%len(places)], int(value), places)
}

// change gives v one of several values of its kind.
func change(v reflect.Value, value int, others []reflect.Value) {
	phases := []string{"", "idle", "admission", "start", "ready", "overlap", "gate", "cut-over", "bake", "rollback", "committed", "upgrade"}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, 2, 3, -1, 1<<63 - 1, 1<<32 - 1}[value%7])
	case reflect.Uint64:
		v.SetUint([]uint64{0, 1, 2, 3, 10, 1<<64 - 1, 1 << 62}[value%7])
	case reflect.String:
		v.SetString(phases[value%len(phases)])
	default: // nothing, or what is elsewhere
		same := []reflect.Value{reflect.Zero(v.Type())}
		for _, o := range others {
			if o.Type() == v.Type() {
				same = append(same, o)
			}
		}
		v.Set(same[value%len(same)])
	}
}

// worldOf is a world in which m can be what it is.
func worldOf(m *Machine) *world {
	w := &world{m: m, told: map[int]int{}, leaving: map[int]bool{}, orders: map[int]uint64{}, kinds: map[uint64]Kind{},
		decided: map[uint64]Verdict{}, closed: m.stopping, timers: []TimerID{m.deadline, m.stable}}
	open := func(r *request) {
		w.open = append(w.open, r.Request)
		w.kinds[r.Request] = r.Kind
	}
	if r := m.request; r != nil {
		open(r)
		w.timers = append(w.timers, r.timer)
		if r.undo != 0 {
			w.open = append(w.open, r.undo)
			w.kinds[r.undo] = KindRollback
		}
	}
	if m.dry != nil {
		open(m.dry)
		w.timers = append(w.timers, m.dry.timer)
	}
	if m.restarting != nil {
		w.timers = append(w.timers, m.restarting.timer)
	}
	for role, g := range m.all {
		w.alive = append(w.alive, g.number)
		w.timers = append(w.timers, g.timer)
		if g.waiter != nil {
			open(g.waiter)
		}
		switch role {
		case RoleDraining:
			w.told[g.number] = toldEnd
		case RoleKilled:
			w.told[g.number] = toldKill
		}
	}
	w.timers = slices.DeleteFunc(w.timers, func(t TimerID) bool { return t == 0 })
	return w
}

// someOf picks survivors: two bits decide about each generation.
func someOf(m *Machine, fates uint64) Recovered {
	var e Recovered
	for _, g := range m.all {
		s := Survivor{Generation: g.number, Ready: g.ready, CanPause: g.canPause}
		switch fates & 3 {
		case 0:
			e.Survivors = append(e.Survivors, s)
		case 1:
			e.Survivors = append(e.Survivors, Survivor{Generation: g.number, Mute: true})
		case 2:
			s.Draining = true
			e.Survivors = append(e.Survivors, s)
		}
		fates >>= 2
	}
	return e
}

// Numbers that generations may have of whom nothing is known are left out.
func TestNumbersInUseAreNotGiven(t *testing.T) {
	t.Parallel()
	release := testRelease("v1")
	m, err := NewMachine(Policy{})
	if err != nil {
		t.Fatal(err)
	}
	m.Step(Boot{Release: release, After: 7})
	if s := m.State(); s.Candidate == nil && s.Active == nil && s.Restarting == nil || s.Generations != 8 {
		t.Errorf("after the start: %+v", s)
	}
	state := m.State()
	for after, want := range map[int]int{0: 8, 3: 8, 8: 8, 12: 12} {
		m, err := newMachine(Config{From: &State{Machine: state}, After: after})
		if err != nil {
			t.Fatal(err)
		}
		if n := m.State().Generations; n != want {
			t.Errorf("after %d: the highest number is %d, want %d", after, n, want)
		}
	}
	if m, err = newMachine(Config{From: &State{Machine: MachineState{Phase: PhaseIdle}}, After: 3}); err != nil || m.State().Generations != 0 {
		t.Fatalf("one that had not begun: %+v, %v", m, err)
	}
}
