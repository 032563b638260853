package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The tests of this file visit every state that the machine can reach, and
// check in each that it is safe (nothing wrong has happened) and live (time
// alone leads to an answer and to an end). The world around the machine is
// played by world, which knows what a real one could say at each moment and
// also says much that a real one could not: late, doubled and made-up facts.

// world is a machine and what exists around it.
type world struct {
	m        *Machine
	alive    []int          // launched and not exited
	told     map[int]int    // generation: what it was last told, see below
	leaving  map[int]bool   // generations that drain of their own accord
	timers   []TimerID      // set and neither stopped nor fired
	orders   map[int]uint64 // generation: the id of its last pause or resume
	open     []uint64       // requests without a reply
	kinds    map[uint64]Kind
	decided  map[uint64]Verdict // of requests whose reply waits for a drain
	requests uint64
	dryRuns  bool // are asked for
	closed   bool // the supervisor's copies of the listeners
	ended    bool
}

// What a generation was last told.
const (
	toldNothing = iota
	toldPause
	toldResume
	toldEnd // drain, SIGTERM or SIGKILL
	toldKill
)

func explorePolicy(bake, overlap time.Duration) Policy {
	return Policy{Bake: bake, Overlap: overlap, MaxDraining: 1}
}

// hookedPolicy has every hook.
func hookedPolicy() Policy {
	p := explorePolicy(time.Second, time.Second)
	p.Hooks = HookTimes{1, 1, 1, 1, 1, 1}
	return p
}

func newWorld(t *testing.T, p Policy) *world {
	t.Helper()
	m, err := NewMachine(p)
	if err != nil {
		t.Fatal(err)
	}
	return &world{m: m, told: map[int]int{}, leaving: map[int]bool{}, orders: map[int]uint64{}, kinds: map[uint64]Kind{}, decided: map[uint64]Verdict{}}
}

// clone copies the world, the generations of the machine included.
func (w *world) clone() *world {
	gens := map[*generation]*generation{nil: nil}
	reqs := map[*request]*request{nil: nil}
	req := func(r *request) *request {
		if _, ok := reqs[r]; !ok {
			c := *r
			reqs[r] = &c
		}
		return reqs[r]
	}
	gen := func(g *generation) *generation {
		if _, ok := gens[g]; !ok {
			c := *g
			c.waiter = req(g.waiter)
			gens[g] = &c
		}
		return gens[g]
	}
	list := func(gs []*generation) []*generation {
		var out []*generation
		for _, g := range gs {
			out = append(out, gen(g))
		}
		return out
	}
	m := *w.m
	m.request = req(m.request)
	m.dry = req(m.dry)
	m.active, m.candidate, m.paused = gen(m.active), gen(m.candidate), gen(m.paused)
	m.draining, m.killed = list(m.draining), list(m.killed)
	if m.restarting != nil {
		r := *m.restarting
		r.generation = gen(r.generation)
		m.restarting = &r
	}
	v := *w // its maps are never written to, see with
	v.m, v.alive, v.timers, v.open = &m, slices.Clone(w.alive), slices.Clone(w.timers), slices.Clone(w.open)
	return &v
}

// with is m with v under k. Worlds share what few of them change.
func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	c := make(map[K]V, len(m)+1)
	maps.Copy(c, m)
	c[k] = v
	return c
}

// key names the state without the numbers that only grow.
func (w *world) key() string {
	m := w.m
	b := make([]byte, 0, 128)
	flags := func(flags ...bool) {
		for _, f := range flags {
			b = append(b, "01"[btoi(f)])
		}
	}
	gen := func(g *generation) {
		if g != nil {
			flags(g.ready, g.canPause, g.mute, g.terminated, g.drained, w.leaving[g.number])
			b = append(append(b, byte('0'+w.told[g.number])), waits(g)...)
		}
		b = append(b, ';')
	}
	b = append(b, m.phase...)
	flags(m.bakeStep > bakeWatch && m.phase == PhaseBake, m.bakeStep > bakeAnswer && m.phase == PhaseBake, m.deadline != 0,
		m.stopping, m.failure != "", m.finished, m.release != nil, m.previous != nil, m.stable != 0)
	b = append(b, byte('0'+min(m.failures, 2)))
	if r := m.request; r != nil {
		b = append(b, r.Kind...)
		b = append(b, r.hook...)
		flags(r.hooked, r.Force, r.WaitDrain, r.timer != 0, r.undo != 0, r.retired != 0, r.drained != nil)
	}
	if r := m.dry; r != nil {
		b = append(append(b, 'd'), r.Kind...)
	}
	gen(m.active)
	gen(m.candidate)
	gen(m.paused)
	if m.restarting != nil {
		flags(m.restarting.timer != 0)
		gen(m.restarting.generation)
	}
	for _, slot := range [][]*generation{m.draining, m.killed} {
		var keys []string
		before := len(b)
		for _, g := range slot {
			flags(g.ready, g.mute, g.terminated, g.drained, w.told[g.number] == toldKill)
			keys = append(keys, string(append(b[before:], waits(g)...)))
			b = b[:before]
		}
		slices.Sort(keys) // their order decides nothing
		b = append(append(b, '|'), strings.Join(keys, ";")...)
	}
	return string(b)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// events lists all that could happen now, and some things that could not.
func (w *world) events() []Event {
	var es []Event
	if w.m.generations == 0 {
		return []Event{Boot{Release: testRelease("v1")}, StopRequested{}, SaidReady{1, true}, Exited{Generation: 1, Reason: "bogus"}, TimerFired{1}}
	}
	// The dead and the unborn speak too.
	for _, n := range append(slices.Clone(w.alive), 0, w.m.generations+1) {
		es = append(es,
			SaidReady{n, true}, SaidReady{n, false}, SaidFailed{n, "r"}, ChannelLost{n, "r"},
			ProbePassed{n}, ProbeFailed{n, "r"}, GateOpened{n, "r"}, GateShut{n, "r"}, Tripped{n, "r"})
		es = append(es, Rejoined{Survivor{Generation: n, Ready: true, CanPause: true}})
		command := uint64(0)
		if g := w.m.find(n); g != nil {
			command = uint64(g.command)
			if g.mute {
				es = append(es, Rejoined{Survivor{Generation: n, Draining: true}})
			}
		}
		for _, id := range []uint64{command, command + 1000, 0} {
			es = append(es, SaidPaused{n, id}, SaidResumed{n, id}, SaidDrained{Generation: n, ID: id, Cut: 1})
		}
		if slices.Contains(w.alive, n) {
			es = append(es, Exited{Generation: n, Clean: true, Reason: "r"}, Exited{Generation: n, Reason: "r"})
		}
	}
	for _, t := range w.timers {
		es = append(es, TimerFired{t})
	}
	es = append(es, TimerFired{0}, TimerFired{1 << 40}, StopRequested{}, StopRequested{Now: true}, Boot{Release: testRelease("again")})
	next := w.requests + 1
	es = append(es,
		Requested{Request: next, Kind: KindUpgrade},
		Requested{Request: next, Kind: KindUpgrade, Force: true},
		Requested{Request: next, Kind: KindUpgrade, WaitDrain: true, Timeout: time.Minute},
		Requested{Request: next, Kind: KindRollback},
		Requested{Request: next, Kind: KindUpgrade, IfGeneration: max(0, w.m.generations-1)})
	if w.dryRuns {
		es = append(es, Requested{Request: next, Kind: KindUpgrade, DryRun: true}, Requested{Request: next, Kind: KindRollback, DryRun: true})
	}
	if r := w.m.dry; r != nil {
		es = append(es, Admitted{Request: r.Request, Release: testRelease("v3")}, NotAdmitted{r.Request, "r"})
	}
	if r := w.m.request; r != nil {
		es = append(es, Admitted{Request: r.Request, Release: testRelease("v2")}, NotAdmitted{r.Request, "r"})
		if w.m.policy.Hooks != (HookTimes{}) {
			for _, h := range []Hook{HookBeforeStart, HookAfterReady, HookBeforeCutOver, HookAfterCommit, ""} {
				es = append(es, HookPassed{r.Request, h}, HookFailed{r.Request, h, "r"}, HookPassed{1 << 40, h})
			}
		}
	}
	return append(es, Admitted{Request: 1 << 40, Release: testRelease("v9")}, NotAdmitted{1 << 40, "r"})
}

func testRelease(name string) Release {
	return Release{Program: Program{Command: []string{name}}, Path: "/srv/" + name, File: name}
}

// step feeds e and returns what is wrong with the answer; "" if nothing is.
func (w *world) step(e Event) string {
	active, paused, hadCandidate := w.m.active, w.m.paused, w.m.candidate
	phase, release, orders := w.m.phase, w.m.release, w.orders
	switch e := e.(type) {
	case Requested:
		w.requests = max(w.requests, e.Request)
		w.open = append(w.open, e.Request)
		w.kinds = with(w.kinds, e.Request, e.Kind)
	case TimerFired:
		w.timers = slices.DeleteFunc(w.timers, func(t TimerID) bool { return t == e.Timer })
	case Exited:
		w.alive = slices.DeleteFunc(w.alive, func(n int) bool { return n == e.Generation })
	case Rejoined:
		if g := w.m.find(e.Generation); e.Draining && g != nil && g.mute {
			w.leaving = with(w.leaving, e.Generation, true)
		}
	}
	stopping, unready := w.m.stopping, w.unready(e)
	actions := w.m.Step(e)
	if wrong := wrongHaste(actions, stopping, unready); wrong != "" {
		return wrong
	}
	for _, a := range actions {
		if wrong := w.take(a); wrong != "" {
			return wrong
		}
	}
	// A candidate's failure costs the active generation nothing.
	if _, stop := e.(StopRequested); !stop && active != nil && hadCandidate != nil && subject(e) == hadCandidate.number && badNews(e) &&
		slices.Contains([]Phase{PhaseStart, PhaseReady, PhaseOverlap, PhaseGate}, phase) {
		for _, a := range actions {
			if object(a) == active.number {
				return fmt.Sprintf("a failed candidate led to %#v for the active generation", a)
			}
		}
	}
	if _, opened := e.(GateOpened); opened && active != nil && active.canPause && !active.mute {
		for _, a := range actions {
			if d, ok := a.(Drain); ok && d.Generation == active.number {
				return "a generation that can pause was told to drain at the cut-over"
			}
		}
	}
	if m := w.m; m.phase == PhaseBake && m.candidate == nil && m.paused == nil && m.request.retired == 0 {
		return "a bake has neither an old generation nor one that was told to drain"
	}
	if _, timer := e.(TimerFired); timer && phase == PhaseBake && w.m.release != release {
		return "a bake was committed by the clock alone"
	}
	if wrong := w.wrongTurn(e, active, paused, orders); wrong != "" {
		return wrong
	}
	return w.wrong()
}

// unready is the generation of which e tells that it is ready, if it drains and
// nobody knew that; 0 for none.
func (w *world) unready(e Event) int {
	n, mute := 0, false
	switch e := e.(type) {
	case SaidReady:
		n = e.Generation
	case Rejoined:
		if e.Ready {
			n, mute = e.Generation, true
		}
	}
	if g := w.m.find(n); w.m.role(n) != RoleDraining || g.ready || g.mute != mute {
		return 0
	}
	return n
}

// wrongHaste: a generation that drains and turns out to be ready may hold
// connections, and gets the time of a drain; but nothing prolongs a stop.
func wrongHaste(actions []Action, stopping bool, unready int) string {
	if unready == 0 {
		return ""
	}
	longer := slices.ContainsFunc(actions, func(a Action) bool {
		d, ok := a.(Drain)
		return ok && d.Generation == unready && d.Deadline == Policy{}.WithDefaults().DrainTimeout && !d.Again
	})
	if longer == stopping {
		return fmt.Sprintf("generation %d is ready too late, gets the time of a drain: %t, while stopping: %t", unready, longer, stopping)
	}
	return ""
}

// wrongTurn: a generation counts as paused or as resumed only once it has said
// so in answer to the very order that it was given.
func (w *world) wrongTurn(e Event, active, paused *generation, orders map[int]uint64) string {
	if now := w.m.paused; now != nil && now != paused {
		if said, ok := e.(SaidPaused); !ok || now != active || said != (SaidPaused{now.number, orders[now.number]}) {
			return fmt.Sprintf("generation %d counts as paused by %#v", now.number, e)
		}
	}
	if now := w.m.active; now != nil && now == paused && !now.mute {
		if said, ok := e.(SaidResumed); !ok || said != (SaidResumed{now.number, orders[now.number]}) {
			return fmt.Sprintf("generation %d counts as resumed by %#v", now.number, e)
		}
	}
	return ""
}

// waits tells what is to be answered when a generation has ended.
func waits(g *generation) Verdict {
	if g.waiter == nil {
		return ""
	}
	return g.waiter.verdict
}

// take notes one action.
func (w *world) take(a Action) string {
	if n := object(a); n != 0 && !slices.Contains(w.alive, n) {
		return fmt.Sprintf("%#v for a generation that is not there", a)
	}
	switch a := a.(type) {
	case Launch:
		if a.Generation != w.m.generations {
			return fmt.Sprintf("generation %d launched again", a.Generation)
		}
		w.alive = append(w.alive, a.Generation)
	case Pause:
		w.order(a.Generation, toldPause, a.ID)
	case Resume:
		w.order(a.Generation, toldResume, a.ID)
	case Drain:
		if a.Final != w.closed {
			return fmt.Sprintf("%#v, with the listeners closed: %t", a, w.closed)
		}
		return w.endOf(a.Generation, toldEnd)
	case CloseListeners:
		if w.closed || !w.m.stopping {
			return "the listeners are closed twice, or without a stop"
		}
		w.closed = true
	case Terminate:
		return w.endOf(a.Generation, toldEnd)
	case Kill:
		return w.endOf(a.Generation, toldKill)
	case SetTimer:
		w.timers = append(w.timers, a.Timer)
	case StopTimer:
		if !slices.Contains(w.timers, a.Timer) {
			return fmt.Sprintf("timer %d stopped but not set", a.Timer)
		}
		w.timers = slices.DeleteFunc(w.timers, func(t TimerID) bool { return t == a.Timer })
	case RunHook:
		if a.Verdict == "" && w.m.request.hook != a.Hook {
			return fmt.Sprintf("%#v, which nobody awaits", a)
		}
		if a.Verdict == "" && a.Hook != HookBeforeStart && !w.m.candidate.is(a.To) {
			return fmt.Sprintf("%#v, and generation %d is no candidate", a, a.To)
		}
		if a.Verdict != "" && !slices.Contains(w.open, a.Request) {
			return fmt.Sprintf("%#v after the answer", a)
		}
	case Decide:
		if _, twice := w.decided[a.Request]; twice {
			return fmt.Sprintf("request %d decided twice", a.Request)
		}
		w.decided = with(w.decided, a.Request, a.Verdict)
	case Reply:
		if v, ok := w.decided[a.Request]; ok && v != a.Verdict {
			return fmt.Sprintf("request %d was decided %s and answered %s", a.Request, v, a.Verdict)
		}
		if !slices.Contains(w.open, a.Request) {
			return fmt.Sprintf("request %d answered twice or unasked", a.Request)
		}
		w.open = slices.DeleteFunc(w.open, func(r uint64) bool { return r == a.Request })
		if a.Kind != w.kinds[a.Request] {
			return fmt.Sprintf("request %d is a %s and was answered as a %s", a.Request, w.kinds[a.Request], a.Kind)
		}
		if a.Reason == "" {
			return fmt.Sprintf("request %d answered without a reason", a.Request)
		}
		if a.Verdict == Committed && a.Kind == KindUpgrade && (a.To == 0 || a.ToRelease == nil) {
			return "committed, but to nothing"
		}
	case Finish:
		if w.ended {
			return "finished twice"
		}
		w.ended = true
	}
	return ""
}

// order notes that generation n is told to pause or to resume.
func (w *world) order(n, what int, id uint64) {
	w.told, w.orders = with(w.told, n, what), with(w.orders, n, id)
}

// endOf notes that generation n is told to end; somebody else must accept.
func (w *world) endOf(n, how int) string {
	if how == toldKill && w.told[n] == toldKill {
		return fmt.Sprintf("generation %d killed twice", n)
	}
	w.told = with(w.told, n, how)
	m := w.m
	if m.stopping || m.release == nil {
		return ""
	}
	if m.active.is(n) || m.paused.is(n) || m.candidate.is(n) {
		return fmt.Sprintf("generation %d told to end while it is %s", n, m.role(n))
	}
	return ""
}

// object is the generation that an action is done to; 0 for none. Observation
// does nothing to it.
func object(a Action) int {
	switch a := a.(type) {
	case Pause:
		return a.Generation
	case Resume:
		return a.Generation
	case Drain:
		return a.Generation
	case Terminate:
		return a.Generation
	case Kill:
		return a.Generation
	}
	return 0
}

// subject is the generation that an event is about; 0 for none.
func subject(e Event) int {
	switch e := e.(type) {
	case SaidFailed:
		return e.Generation
	case ChannelLost:
		return e.Generation
	case ProbeFailed:
		return e.Generation
	case GateShut:
		return e.Generation
	case Tripped:
		return e.Generation
	case Exited:
		return e.Generation
	}
	return 0
}

func badNews(e Event) bool { return subject(e) != 0 }

// wrong checks what must hold in every state.
func (w *world) wrong() string {
	m := w.m
	if m.finished {
		if !w.closed {
			return "finished without closing the listeners"
		}
		if len(w.alive) > 0 || len(w.open) > 0 || len(w.timers) > 0 || !w.ended {
			return fmt.Sprintf("finished with %v alive, requests %v open, timers %v", w.alive, w.open, w.timers)
		}
		return ""
	}
	for _, check := range []func() string{w.wrongSlots, w.wrongTimers, w.wrongRequests, w.wrongService} {
		if wrong := check(); wrong != "" {
			return wrong
		}
	}
	return ""
}

// wrongSlots: every living generation is in one slot, and no other is in any.
func (w *world) wrongSlots() string {
	m := w.m
	var held []int
	for _, g := range m.all {
		held = append(held, g.number)
	}
	slices.Sort(held)
	alive := slices.Sorted(slices.Values(w.alive))
	if !slices.Equal(held, alive) {
		return fmt.Sprintf("generations %v live, slots hold %v", alive, held)
	}
	for _, g := range m.killed {
		if w.told[g.number] != toldKill {
			return fmt.Sprintf("generation %d counts as killed but was not", g.number)
		}
	}
	return ""
}

// wrongTimers: every timer that is set has somebody who waits for it, and
// everybody who waits has a timer.
func (w *world) wrongTimers() string {
	m := w.m
	awaited := []TimerID{m.deadline, m.stable}
	if m.dry != nil {
		awaited = append(awaited, m.dry.timer)
	}
	if m.request != nil {
		awaited = append(awaited, m.request.timer)
	}
	if m.restarting != nil {
		awaited = append(awaited, m.restarting.timer)
	}
	for _, g := range m.draining {
		if g.timer == 0 {
			return fmt.Sprintf("generation %d drains without a deadline", g.number)
		}
		awaited = append(awaited, g.timer)
	}
	awaited = slices.DeleteFunc(awaited, func(t TimerID) bool { return t == 0 })
	slices.Sort(awaited)
	set := slices.Sorted(slices.Values(w.timers))
	if !slices.Equal(awaited, set) {
		return fmt.Sprintf("timers %v are set, %v awaited", set, awaited)
	}
	return ""
}

// wrongRequests: every request without a reply is held by somebody.
func (w *world) wrongRequests() string {
	m := w.m
	var held []uint64
	if m.dry != nil {
		held = append(held, m.dry.Request)
	}
	if m.request != nil {
		held = append(held, m.request.Request)
		if m.request.undo != 0 {
			held = append(held, m.request.undo)
		}
		if m.deadline == 0 && m.restarting == nil {
			return "an upgrade runs without a deadline"
		}
	} else if m.phase != PhaseIdle && m.release != nil {
		return fmt.Sprintf("phase %s without a request", m.phase)
	}
	for _, g := range m.draining {
		if g.waiter != nil {
			held = append(held, g.waiter.Request)
		}
	}
	for _, g := range m.killed {
		if g.waiter != nil {
			held = append(held, g.waiter.Request)
		}
	}
	slices.Sort(held)
	open := slices.Sorted(slices.Values(w.open))
	if !slices.Equal(held, open) {
		return fmt.Sprintf("requests %v are open, %v held", open, held)
	}
	return ""
}

// wrongService: somebody accepts, or is on the way to it.
func (w *world) wrongService() string {
	m := w.m
	if m.stopping || m.release == nil {
		return ""
	}
	resuming := m.paused != nil && m.phase == PhaseRollback
	if m.active == nil && m.restarting == nil && !resuming {
		return "nobody accepts and nobody is to"
	}
	if m.active != nil && !m.active.mute && m.phase != PhaseCutOver && m.phase != PhaseRollback && w.told[m.active.number] == toldPause {
		return fmt.Sprintf("generation %d is active and was told to pause", m.active.number)
	}
	if m.active != nil && w.leaving[m.active.number] {
		return fmt.Sprintf("generation %d is active and drains", m.active.number)
	}
	if m.active != nil && w.told[m.active.number] >= toldEnd {
		return fmt.Sprintf("generation %d is active and was told to end", m.active.number)
	}
	if m.paused != nil && m.phase != PhaseBake && m.phase != PhaseRollback {
		return fmt.Sprintf("generation %d is left paused in phase %s", m.paused.number, m.phase)
	}
	return ""
}

// unanswered: with generations that say nothing and end only when killed, time
// alone must answer every request.
func (w *world) unanswered() string {
	v := w.clone()
	for range 200 {
		if len(v.open) == 0 {
			return ""
		}
		if wrong := v.pass(); wrong != "" {
			return wrong
		}
	}
	return fmt.Sprintf("requests %v are never answered (phase %s)", v.open, v.m.phase)
}

// unstoppable: after a stop, time alone must end everything.
func (w *world) unstoppable() string {
	v := w.clone()
	if v.m.finished {
		return ""
	}
	if wrong := v.step(StopRequested{}); wrong != "" {
		return wrong
	}
	for range 200 {
		if v.m.finished {
			return ""
		}
		if wrong := v.pass(); wrong != "" {
			return wrong
		}
	}
	return fmt.Sprintf("does not end: %v alive", v.alive)
}

// pass lets the killed end, or else the oldest timer fire.
func (w *world) pass() string {
	for _, n := range w.alive {
		if w.told[n] == toldKill {
			return w.step(Exited{Generation: n, Reason: "was killed"})
		}
	}
	if len(w.timers) == 0 {
		return "nothing is left that could happen"
	}
	return w.step(TimerFired{slices.Min(w.timers)})
}

// explore visits every state reachable under p with at most crowd generations
// alive, and returns the number of states, and of those in which the supervisor
// was killed that differ. (Without such a bound there is no
// end: time is not modelled, so that generations may end ever so slowly.)
func explore(t *testing.T, p Policy, crowd int, dryRuns bool, anyWrong *atomic.Bool) (states, crashes int) {
	start := newWorld(t, p)
	start.dryRuns = dryRuns
	type visit struct {
		w    *world
		from *visit
		by   Event
	}
	seen := map[string]bool{start.key(): true}
	queue := []*visit{{w: start}}
	complain := func(v *visit, wrong string) {
		var path []string
		for ; v.from != nil; v = v.from {
			path = append(path, fmt.Sprintf("%#v", v.by))
		}
		slices.Reverse(path)
		anyWrong.Store(true)
		t.Fatalf("%s after\n  %s", wrong, strings.Join(path, "\n  "))
	}
	crashed := map[string]bool{}
	var arrive func(v *visit)
	arrive = func(v *visit) {
		for _, check := range []func() string{v.w.unanswered, v.w.unstoppable, v.w.unrestored} {
			if wrong := check(); wrong != "" {
				complain(v, wrong)
			}
		}
		if len(v.w.alive) > crowd {
			return
		}
		queue = append(queue, v)
		if key := v.w.crashKey(); !crashed[key] {
			crashed[key] = true
			for _, e := range v.w.crashes() {
				next := &visit{from: v, by: e}
				var wrong string
				if next.w, wrong = v.w.crash(e); wrong != "" {
					complain(next, wrong)
				}
				if key := next.w.key(); !seen[key] {
					seen[key] = true
					arrive(next)
				}
			}
		}
	}
	for len(queue) > 0 && !anyWrong.Load() {
		v := queue[0]
		queue = queue[1:]
		for _, e := range v.w.events() {
			next := &visit{w: v.w.clone(), from: v, by: e}
			if wrong := next.w.step(e); wrong != "" {
				complain(next, wrong)
			}
			if key := next.w.key(); !seen[key] {
				seen[key] = true
				arrive(next)
			}
		}
		v.w = nil // of what is over, only the path is kept
	}
	return len(seen), len(crashed)
}

func TestEveryReachableStateIsSafeAndLive(t *testing.T) {
	var anyWrong atomic.Bool
	for name, c := range map[string]struct {
		p       Policy
		crowd   int
		dryRuns bool
	}{
		"bake and overlap": {explorePolicy(time.Second, time.Second), crowd, false},
		"no bake":          {explorePolicy(0, 0), crowd, false},
		"hooks":            {hookedPolicy(), crowd, false},
		"dry runs":         {explorePolicy(time.Second, 0), crowd, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			states, crashes := explore(t, c.p, c.crowd, c.dryRuns, &anyWrong)
			t.Logf("%d states, killed in %d", states, crashes)
		})
	}
}
