package upgrade

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A dummy is a Launcher of processes that do what they are told at once, and
// nothing else.
type dummy struct {
	mu   sync.Mutex
	said map[int][]string // by generation
}

func (d *dummy) Launch(n int, _ Release, _ bool, _ time.Duration, deliver func(Event)) Process {
	return &dummyProcess{d, n, deliver}
}
func (d *dummy) Adopt(s ProcessState, deliver func(Event)) Process {
	return &dummyProcess{d, s.Generation, deliver}
}
func (*dummy) Join()           {}
func (*dummy) CloseListeners() {}

func (d *dummy) note(n int, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.said == nil {
		d.said = map[int][]string{}
	}
	d.said[n] = append(d.said[n], what)
}

func (d *dummy) heard(n int) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said[n]
}

type dummyProcess struct {
	d       *dummy
	n       int
	deliver func(Event)
}

func (p *dummyProcess) Pause(uint64)  {}
func (p *dummyProcess) Resume(uint64) {}
func (p *dummyProcess) Drain(_ uint64, deadline time.Duration, _ bool, _ []string) {
	p.d.note(p.n, "drain "+deadline.Round(time.Second).String())
}
func (p *dummyProcess) Hold(on bool) {
	p.d.note(p.n, map[bool]string{true: "hold", false: "release"}[on])
}
func (p *dummyProcess) Terminate()          {}
func (p *dummyProcess) Kill()               { go p.deliver(Exited{Generation: p.n}) }
func (p *dummyProcess) Snapshot() Snapshot  { return Snapshot{PID: 1000 + p.n, Joined: true} }
func (p *dummyProcess) Output() []string    { return nil }
func (p *dummyProcess) Usage() Usage        { return Usage{} }
func (p *dummyProcess) State() ProcessState { return ProcessState{Generation: p.n, PID: 1000 + p.n} }
func (p *dummyProcess) Rest() (int, func()) { return 0, func() {} }

// drainingState is where a supervisor was whose generation 1 drains and 2 is
// active.
func drainingState(t *testing.T) State {
	t.Helper()
	m := lived(t, toBake...)
	for _, e := range []Event{TimerFired{m.deadline}, SaidResumed{2, uint64(m.serial) + 1}} {
		m.Step(e)
	}
	m.Step(SaidResumed{2, uint64(m.active.command)})
	m.Step(ProbePassed{2})
	if m.phase != PhaseIdle || len(m.draining) != 1 || m.active == nil {
		t.Fatalf("phase %s, %d drain", m.phase, len(m.draining))
	}
	st := State{Service: "web", Machine: m.State()}
	st.Machine.Draining[0].Waiter = nil
	for n := 1; n <= 2; n++ {
		st.Generations = append(st.Generations, ProcessState{Generation: n, PID: 1000 + n})
	}
	return st
}

// goesOn runs a supervisor until the end of the test.
func goesOn(t *testing.T, cfg Config) *Supervisor {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = s.Stop(context.Background(), true)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestHeldDrainIsReleasedByTheNext: a supervisor that was told nothing of a hold
// releases who may be held, or the drain would not end before its deadline.
func TestHeldDrainIsReleasedByTheNext(t *testing.T) {
	t.Parallel()
	d, st := &dummy{}, drainingState(t)
	s := goesOn(t, Config{Service: "web", Policy: Policy{Bake: time.Second}, Launcher: d, From: &st})
	if err := s.Alive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := d.heard(1); len(said) != 1 || said[0] != "release" {
		t.Errorf("the generation that drains heard %q", said)
	}
	if said := d.heard(2); len(said) != 0 {
		t.Errorf("the active generation heard %q", said)
	}
}

// TestClockThatIsSetCutsNoDrain: how much time a drain has left is told by a clock
// that nobody sets.
func TestClockThatIsSetCutsNoDrain(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"not at all": 0, "forward": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, st := &dummy{}, drainingState(t)
			st.Generations[0].DrainDeadline = time.Now().Add(20*time.Second - step)
			st.Generations[0].DrainUntil = BootTime() + 20*time.Second
			s := goesOn(t, Config{Service: "web", Policy: Policy{Bake: time.Second}, Launcher: d, From: &st, Killed: true,
				Survivors: []Survivor{{Generation: 1, Draining: true}, {Generation: 2, Ready: true}}})
			if err := s.Alive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if said := d.heard(1); len(said) != 1 || said[0] != "drain 20s" {
				t.Errorf("the generation that drains heard %q", said)
			}
		})
	}
}

// TestReadyTooLateHasTheTimeOfADrain: a generation that was told to end quickly is
// told anew. That is more time than it had, which a drain told again never gives.
func TestReadyTooLateHasTheTimeOfADrain(t *testing.T) {
	t.Parallel()
	d := &dummy{}
	m := lived(t, toIdle...)
	for _, e := range []Event{Requested{Request: 1, Kind: KindUpgrade}, Admitted{Request: 1, Release: testRelease("v2")}} {
		m.Step(e)
	}
	m.Step(TimerFired{m.deadline})
	if m.role(2) != RoleDraining {
		t.Fatalf("generation 2 is %q", m.role(2))
	}
	st := State{Service: "web", Machine: m.State(), LastRequest: 1, Generations: []ProcessState{{Generation: 1, PID: 1001},
		{Generation: 2, PID: 1002, DrainDeadline: time.Now().Add(5 * time.Second), DrainUntil: BootTime() + 5*time.Second}}}
	s := goesOn(t, Config{Service: "web", Policy: Policy{Bake: time.Second}, Launcher: d, From: &st})
	s.fromProcess(SaidReady{Generation: 2})
	if err := s.Alive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := d.heard(2); !slices.Contains(said, "drain 30s") {
		t.Errorf("the generation that was ready too late heard %q", said)
	}
}

// TestStateThatDoesNotFitTogetherIsRefused rather than met by a crash later on.
func TestStateThatDoesNotFitTogetherIsRefused(t *testing.T) {
	t.Parallel()
	whole := func() State {
		st := State{Service: "web", Machine: busy(t).State(), LastRequest: 2,
			Callers: []CallerState{{Request: 1, Kind: KindUpgrade}, {Request: 2, Kind: KindUpgrade}}}
		for n := 1; n <= 3; n++ {
			st.Generations = append(st.Generations, ProcessState{Generation: n, PID: 1000 + n})
		}
		return st
	}
	if err := whole().ValidateHandedOn(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*State){
		"nobody waits for request 2":    func(st *State) { st.Callers = st.Callers[:1] },
		"nobody waits for request 1":    func(st *State) { st.Callers = st.Callers[1:] },
		"request 2 is waited for twice": func(st *State) { st.Callers[0].Request = 2 },
	} {
		st := whole()
		spoil(&st)
		if err := st.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestEachGenerationHandedOnHasItsProcess, and each process its generation: it is
// refused otherwise, where a supervisor that was killed may have left the like.
func TestEachGenerationHandedOnHasItsProcess(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*State){
		"generation 1 is draining and has no process": func(st *State) { st.Generations = st.Generations[1:] },
		"generation 2 is active and has no process":   func(st *State) { st.Generations = st.Generations[:1] },
		"generation 1 has a process and no role":      func(st *State) { st.Machine.Draining = nil },
	} {
		st := drainingState(t)
		spoil(&st)
		if err := st.ValidateHandedOn(); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
		cfg := Config{Service: "web", Policy: Policy{Bake: time.Second}, Launcher: &dummy{}, From: &st}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a supervisor goes on from it: %v, want %q", err, want)
		}
		if err := st.Validate(); err != nil {
			t.Errorf("one that was killed: %v", err)
		}
		cfg.Killed = true
		if _, err := New(cfg); err != nil {
			t.Errorf("one that was killed: %v", err)
		}
	}
}

// TestWhoGivesUpIsForgotten: somebody who asks for a report again and again, and
// does not stay for it, takes no memory.
func TestWhoGivesUpIsForgotten(t *testing.T) {
	t.Parallel()
	st := drainingState(t)
	m := lived(t, toGate...)
	st.Machine, st.LastRequest, st.Callers = m.State(), 1, []CallerState{{Request: 1, Kind: KindUpgrade}}
	s := goesOn(t, Config{Service: "web", Policy: Policy{Bake: time.Second}, Launcher: &dummy{}, From: &st})
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := s.Await(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		cancel()
	}
	waiting := make(chan int)
	s.post(func() { waiting <- len(s.callers[1].audience) })
	if n := <-waiting; n > 0 {
		t.Errorf("%d wait", n)
	}
}
