package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ErrEnded tells that the supervisor ended before an answer was known.
var ErrEnded = errors.New("the supervisor has ended")

// Config says what a Supervisor runs and with whose help.
type Config struct {
	// Service is the name of the service; for logs and status.
	Service string
	// Program is what the first generation runs.
	Program Program
	// Policy holds the limits; the zero value means its defaults.
	Policy Policy
	// Launcher starts generations. Required.
	Launcher Launcher
	// Watcher looks at generations; nil means that nothing is looked at.
	Watcher Watcher
	// Hooks does what is to be done at those hooks for which Policy.Hooks has a
	// limit; nil does nothing.
	Hooks Hooks
	// Logger takes one line per step; nil means none.
	Logger *slog.Logger
	// Reported, if set, is called with every report, from the goroutine of
	// Run: it must not block.
	Reported func(Report)
	// Changed, if set, is called from the goroutine of Run with what there is to
	// see at the beginning and after every step: it must not block. What memory
	// is used is left out.
	Changed func(Status)
	// Listeners are shown in Status.
	Listeners []ListenerStatus
	// Choose, if set, is told what Program means at the start, and says what is to
	// be started in the first generation, and what a rollback goes to then; nil if
	// there is nothing.
	Choose func(configured Release) (first Release, previous *Release)
	// Kept, if set, is where the releases are kept that may have to be started
	// again. It is borrowed, and shared with the Launcher.
	Kept *Kept
	// Began, if set, is called as Reported is, with a report of KindStart when the
	// first generation has become active, or has failed to.
	Began func(Report)
	// From, if set, is where another supervisor was, from which this one goes
	// on instead of starting a first generation.
	From *State
	// Killed tells that the other supervisor was killed, and Survivors who of
	// its generations live. Otherwise it has executed this one in its place.
	Killed    bool
	Survivors []Survivor
	// After is the highest number that a generation has which may live beside
	// those of From; no generation is given one up to it.
	After int
	// Persist, if set, is called from the goroutine of Run with what the next
	// supervisor would have to know, each time that changes: before anything is
	// done that follows from it. After an error it is tried again at the next step,
	// or by WriteDown.
	Persist func(State) error
}

// A Supervisor runs one service and upgrades it. One goroutine, that of Run,
// owns the machine and all else below; other goroutines send it work.
type Supervisor struct {
	cfg     Config
	log     *slog.Logger
	inbox   chan func()
	done    chan struct{} // closed when no more work is taken
	started time.Time     // of the service: of the first in a row of supervisors
	begun   time.Time

	machine     *Machine
	generations map[int]*member
	callers     map[uint64]*caller
	timers      map[TimerID]pending
	watching    context.Context // of all observations; done when Run ends
	tasks       sync.WaitGroup  // observations, joined at the end of Run
	lastRequest uint64
	restarts    uint64
	reports     []Report
	first       *Report // of the first start; nil once it is known how that ended
	finished    *Finish
	stranger    string   // what is to be said of a generation that never said hello
	answers     []func() // steps and reports on their way, until what they tell is written down
	persisted   State
	hooking     hooking
	handing     bool // everything is being brought to rest, or rests
}

// member is a generation that has been launched and has not been seen to end.
type member struct {
	release       Release
	process       Process
	started       time.Time
	ready         time.Time
	drainDeadline time.Time
	drainUntil    time.Duration   // the same by BootTime, for the next supervisor
	watch         context.Context // of the observation under way
	unwatch       context.CancelFunc
}

type pending struct {
	timer *time.Timer
	at    time.Time
}

// New returns a supervisor that starts its first generation when Run is called.
func New(cfg Config) (*Supervisor, error) {
	if cfg.From != nil && !cfg.Killed {
		if err := cfg.From.ValidateHandedOn(); err != nil {
			return nil, fmt.Errorf("cannot go on from what was handed on: %w", err)
		}
	}
	machine, err := newMachine(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Launcher == nil {
		return nil, errors.New("cannot supervise without a launcher")
	}
	if cfg.Watcher == nil {
		cfg.Watcher = noWatcher{}
	}
	if cfg.Hooks == nil {
		cfg.Hooks = noHooks{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	s := &Supervisor{
		cfg:         cfg,
		log:         cfg.Logger,
		inbox:       make(chan func()),
		done:        make(chan struct{}),
		started:     now,
		begun:       now,
		machine:     machine,
		generations: map[int]*member{},
		callers:     map[uint64]*caller{},
		timers:      map[TimerID]pending{},
		hooking:     hooking{held: map[uint64]*held{}},
	}
	s.recall()
	return s, nil
}

func newMachine(cfg Config) (*Machine, error) {
	if cfg.From == nil {
		return NewMachine(cfg.Policy)
	}
	state := cfg.From.Machine
	if state.Generations > 0 { // otherwise it has not begun
		state.Generations = max(state.Generations, cfg.After)
	}
	return RestoreMachine(cfg.Policy, state)
}

// Run starts the first generation, or goes on from Config.From, and supervises until ctx is done or Stop is
// called, and then until every generation has ended. It returns nil after a
// stop, and the reason if the first generation cannot become ready. It is
// called once.
func (s *Supervisor) Run(ctx context.Context) error {
	var cancel context.CancelFunc
	s.watching, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.tasks.Wait()
	defer cancel()
	s.hooking.ctx, s.hooking.callOff = context.WithCancel(s.watching)
	defer close(s.done)
	defer s.cfg.Launcher.Join()
	if err := s.begin(); err != nil {
		return err
	}
	stop := ctx.Done()
	for s.finished == nil {
		select {
		case work := <-s.inbox:
			work()
		case <-stop:
			stop = nil
			s.step(StopRequested{})
		}
	}
	s.finishHooks()
	for _, p := range s.timers {
		p.timer.Stop()
	}
	if s.finished.Failure != "" {
		return errors.New(s.finished.Failure + s.stranger)
	}
	return nil
}

// begin starts the first generation, or goes on.
func (s *Supervisor) begin() error {
	if s.cfg.From != nil {
		s.goOn()
		return nil
	}
	release, err := Resolve(s.cfg.Program)
	if err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	var previous *Release
	if s.cfg.Choose != nil {
		release, previous = s.cfg.Choose(release)
	}
	for _, r := range []*Release{&release, previous} {
		if r != nil {
			s.cfg.Kept.keep(*r)
			defer s.cfg.Kept.unpin(*r) // the machine has it then
		}
	}
	s.first = &Report{Kind: KindStart, Started: time.Now(), To: s.cfg.After + 1, ToRelease: &release}
	s.step(Boot{Release: release, Previous: previous, After: s.cfg.After})
	return nil
}

// post hands work to the goroutine of Run, unless that has ended.
func (s *Supervisor) post(work func()) { _ = s.postFor(context.Background(), work) }

// postFor is post for a caller who waits no longer than ctx.
func (s *Supervisor) postFor(ctx context.Context, work func()) error {
	select {
	case s.inbox <- work:
		return nil
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Upgrade asks for an upgrade and waits for its verdict; progress, if not nil,
// is called for each step from the calling goroutine. An error means that the
// verdict is not known: if ctx is done the upgrade goes on without a listener.
func (s *Supervisor) Upgrade(ctx context.Context, r Request, progress func(Step)) (Report, error) {
	return s.request(ctx, KindUpgrade, r, progress)
}

// Rollback asks for the previous release, as Upgrade does for a new one. While
// an upgrade runs it undoes that upgrade instead.
func (s *Supervisor) Rollback(ctx context.Context, r Request, progress func(Step)) (Report, error) {
	return s.request(ctx, KindRollback, r, progress)
}

func (s *Supervisor) request(ctx context.Context, k Kind, r Request, progress func(Step)) (Report, error) {
	l := newListener()
	if err := s.postFor(ctx, func() { s.admitCaller(newCaller(k, r, l)) }); err != nil {
		return Report{}, err
	}
	return l.wait(ctx, s.done, progress)
}

// ErrUnknownRequest tells of a request that was never made, or so long ago that
// its report is not kept any more.
var ErrUnknownRequest = errors.New("no such request is known")

// Await waits for the report of a request that was made before, by whomever, also
// of another supervisor from which this one goes on. progress is called for the
// steps from now on. Only the latest reports are kept.
func (s *Supervisor) Await(ctx context.Context, request uint64, progress func(Step)) (Report, error) {
	l, known := newListener(), make(chan bool, 1)
	if err := s.postFor(ctx, func() { known <- s.listenTo(request, l) }); err != nil {
		return Report{}, err
	}
	if !<-known {
		return Report{}, fmt.Errorf("request %d: %w", request, ErrUnknownRequest)
	}
	defer s.post(func() { s.unlisten(request, l) })
	return l.wait(ctx, s.done, progress)
}

// listenTo adds one who waits for the report of a request, or has it at once.
func (s *Supervisor) listenTo(request uint64, l *listener) bool {
	if c := s.callers[request]; c != nil {
		c.audience = append(c.audience, l)
		return true
	}
	if h := s.hooking.held[request]; h != nil {
		h.audience = append(h.audience, l)
		return true
	}
	for _, r := range s.reports {
		if r.Request == request {
			l.report <- r
			return true
		}
	}
	return false
}

// unlisten forgets one who does not wait any more.
func (s *Supervisor) unlisten(request uint64, l *listener) {
	other := func(o *listener) bool { return o == l }
	if c := s.callers[request]; c != nil {
		c.audience = slices.DeleteFunc(c.audience, other)
	}
	if h := s.hooking.held[request]; h != nil {
		h.audience = slices.DeleteFunc(h.audience, other)
	}
}

// Stop ends the supervisor: it drains every generation, or kills them if now
// is set, and waits until Run has nothing more to do or ctx is done.
func (s *Supervisor) Stop(ctx context.Context, now bool) error {
	if err := s.postFor(ctx, func() { s.step(StopRequested{Now: now}) }); err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Alive returns nil when the goroutine that decides has shown that it does, and
// an error if it does not until ctx is done.
func (s *Supervisor) Alive(ctx context.Context) error { return s.postFor(ctx, func() {}) }

// Status returns a picture of the present moment.
func (s *Supervisor) Status(ctx context.Context) (Status, error) {
	type picture struct {
		status    Status
		processes []Process // in the order of its generations
	}
	result := make(chan picture, 1)
	if err := s.postFor(ctx, func() {
		status, processes := s.status()
		result <- picture{status, processes}
	}); err != nil {
		return Status{}, err
	}
	select {
	case p := <-result:
		if previous := p.status.Previous; previous != nil {
			if _, err := s.cfg.Kept.start(*previous); err != nil {
				p.status.RollbackTrouble = err.Error()
			}
		}
		for i, process := range p.processes {
			usage := process.Usage()
			p.status.Generations[i].Group, p.status.Generations[i].MemoryBytes = usage.Group, usage.MemoryBytes
		}
		return p.status, nil
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
}
