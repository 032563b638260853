package upgrade

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/supervisor/fdpass"
)

// LauncherConfig says what a launcher hands to the processes that it starts.
type LauncherConfig struct {
	// Service is the name that a child is told.
	Service string
	// Listeners are handed to a generation whose release does not say which it
	// wants. The launcher borrows the descriptors until it calls Close, which is
	// when it is told to CloseListeners and no handoff is under way any more.
	Listeners []fdpass.Listener
	Close     func()
	// Lend, if set, is called before each handoff, from any goroutine, for the
	// listeners that the generation is handed instead; its error fails the
	// generation. The launcher borrows the descriptors until it calls back.
	Lend func(generation int, r Release) (all []fdpass.Listener, back func(), err error)
	// Rendezvous, if set, is where generations come back to that lost their
	// supervisor; the launcher borrows it. They are told of it.
	Rendezvous *Rendezvous
	// Keeper, if set, keeps hold of all processes of a generation; otherwise
	// its process group is all that is known of it.
	Keeper Keeper
	// Kept, if set, has what releases are started from where their paths lead
	// elsewhere by then; the launcher borrows it.
	Kept *Kept
	// Execute, if set, says what is executed to run a release as a generation, and
	// with which arguments; otherwise that is the release itself.
	Execute func(generation int, r Release) (path string, argv []string)
	// RunDir is where each generation's probe socket is made; "" means none.
	RunDir string
	// BaseEnv is the environment to which a Program's Env is added; variables
	// that speak of descriptors or notification are taken out of it.
	BaseEnv []string
	// OwnLine, if set, tells lines on Stderr that are the supervisor's own; they
	// are left out of a generation's Output. It may be called from any goroutine.
	OwnLine func(string) bool
	// Stdout and Stderr are inherited by every process; nil means /dev/null.
	Stdout, Stderr *os.File
	// StatsInterval is how often a generation that is busy reports. Default
	// 50 ms, or a millisecond for each listener if that is more.
	StatsInterval time.Duration
	// Counted, if set, is called with what a generation reports, and with nil
	// when it has ended, from any goroutine, but with one report of a generation
	// at a time; it must not block.
	Counted func(generation int, stats []fdpass.ListenerStats)
	// Children, if set, is told of every process that the launcher waits for, and
	// when it does so no more, from any goroutine; it must not block.
	Children func(pid int, waited bool)
	// Logger takes what a child says that is no event; nil means none.
	Logger *slog.Logger
}

// A Keeper keeps hold of the processes of generations, grandchildren included.
// Its methods may be called concurrently.
type Keeper interface {
	// Hold begins to keep hold of a generation, which is to be started, or
	// runs already when it is adopted.
	Hold(generation int, token string) (Hold, error)
}

// A Hold is a grip on all processes of one generation. Its methods may be called
// concurrently.
type Hold interface {
	// Group is the descriptor of the control group in which the generation is
	// to be started, borrowed until End; -1 if there is none.
	Group() int
	// Within calls start so that the process it starts is in the control group
	// from its beginning: for where the system does not take Group. It is start's
	// error, or that of going there.
	Within(start func() error) error
	// Path is the path of the control group; "" if there is none.
	Path() string
	// Env are further entries for its environment.
	Env() []string
	// Memory is what its processes use, in bytes; pid is the one that was started.
	Memory(pid int) (uint64, bool)
	// Kill sends SIGKILL to all of them.
	Kill()
	// End kills what is left of them, waits until they are gone, for a limited
	// time, and gives the hold up. It is called once, when the process that
	// was started has ended.
	End()
}

// NewLauncher returns a Launcher of processes that speak the protocol of
// docs/protocol.md.
func NewLauncher(cfg LauncherConfig) Launcher {
	if cfg.StatsInterval == 0 {
		cfg.StatsInterval = max(50*time.Millisecond, time.Duration(len(cfg.Listeners))*time.Millisecond)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Close == nil {
		cfg.Close = func() {}
	}
	if cfg.Lend == nil {
		cfg.Lend = func(int, Release) ([]fdpass.Listener, func(), error) { return cfg.Listeners, func() {}, nil }
	}
	if cfg.Counted == nil {
		cfg.Counted = func(int, []fdpass.ListenerStats) {}
	}
	if cfg.OwnLine == nil {
		cfg.OwnLine = func(string) bool { return false }
	}
	if cfg.Execute == nil {
		cfg.Execute = func(_ int, r Release) (string, []string) { return r.Path, r.Command }
	}
	if cfg.Children == nil {
		cfg.Children = func(int, bool) {}
	}
	if cfg.Keeper == nil {
		cfg.Keeper = noKeeper{}
	}
	l := &launcher{cfg: cfg, find: findChild}
	l.listeners.users = 1
	l.ending.none = sync.NewCond(&l.ending)
	return l
}

type launcher struct {
	cfg       LauncherConfig
	find      func(pid int, ticks uint64) (child, error) // of an adopted process
	listeners struct {
		sync.Mutex
		users int // handoffs under way, and one until CloseListeners
	}
	ending struct { // unlike a WaitGroup it may be waited for while it is counted up
		sync.Mutex
		count int // generations of which something may be left
		none  *sync.Cond
	}
}

func (l *launcher) Join() {
	l.ending.Lock()
	defer l.ending.Unlock()
	for l.ending.count > 0 {
		l.ending.none.Wait()
	}
}

// ends counts a generation that has ended, until what it left has.
func (l *launcher) ends(delta int) {
	l.ending.Lock()
	defer l.ending.Unlock()
	l.ending.count += delta
	l.ending.none.Broadcast()
}

// borrow keeps the listeners open; false if they are closed already.
func (l *launcher) borrow() bool {
	l.listeners.Lock()
	defer l.listeners.Unlock()
	if l.listeners.users == 0 {
		return false
	}
	l.listeners.users++
	return true
}

func (l *launcher) CloseListeners() {
	l.listeners.Lock()
	defer l.listeners.Unlock()
	if l.listeners.users--; l.listeners.users == 0 {
		l.cfg.Close()
	}
}

func (l *launcher) Launch(n int, r Release, again bool, readyTimeout time.Duration, deliver func(Event)) Process {
	p := l.newProcess(n, r, deliver)
	p.again, p.readyTimeout = again, readyTimeout
	p.token = newToken()
	l.claim(p)
	go p.run() // its end is its Exited, which the supervisor waits for
	return p
}

func (l *launcher) Adopt(s ProcessState, deliver func(Event)) Process {
	p := l.newProcess(s.Generation, s.Release, deliver)
	missing := p.adopt(s)
	l.claim(p)
	go p.runAdopted(s, missing) // as in Launch
	return p
}

// claim has the rendezvous know the generation, if there is one, until disclaim.
func (l *launcher) claim(p *process) {
	if r := l.cfg.Rendezvous; r != nil {
		r.claim(p.number, p.token)
	}
}

func (l *launcher) disclaim(p *process) {
	if r := l.cfg.Rendezvous; r != nil {
		r.disclaim(p.number)
	}
}

func (l *launcher) newProcess(n int, r Release, deliver func(Event)) *process {
	names := r.listenNames()
	if names == nil {
		for _, l := range l.cfg.Listeners {
			names = append(names, l.Name)
		}
	}
	p := &process{
		launcher: l, number: n, release: r, deliver: deliver,
		log:   l.cfg.Logger.With("generation", n),
		tail:  newTail(l.cfg.Stderr),
		out:   make(chan fdpass.Message, 16),
		ended: make(chan struct{}),
		index: make(map[string]int, len(names)),
	}
	for i, name := range names {
		p.index[name] = i
	}
	return p
}

// welcome is what a generation is told first, at its start or when it comes back.
func (l *launcher) welcome(generation int, token string, readyTimeout time.Duration) fdpass.Welcome {
	w := fdpass.Welcome{
		Service:    l.cfg.Service,
		Generation: generation,
		StatsMS:    fdpass.Milliseconds(l.cfg.StatsInterval),
		ReadyMS:    fdpass.Milliseconds(readyTimeout),
	}
	if r := l.cfg.Rendezvous; r != nil {
		w.Rendezvous, w.Token = r.path, token
	}
	return w
}

// newToken returns 128 bits that nobody can guess.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it ends the program rather than fail
	return fmt.Sprintf("%x", b)
}

// noKeeper keeps hold of nothing.
type noKeeper struct{}

func (noKeeper) Hold(int, string) (Hold, error) { return noHold{}, nil }

type noHold struct{}

func (noHold) Group() int                      { return -1 }
func (noHold) Within(start func() error) error { return start() }
func (noHold) Path() string                    { return "" }
func (noHold) Env() []string                   { return nil }
func (noHold) Memory(int) (uint64, bool)       { return 0, false }
func (noHold) Kill()                           {}
func (noHold) End()                            {}

// EnvGeneration is the variable in the environment of a process of a generation,
// and of a probe command, that says which one: its number.
const EnvGeneration = "SUPERVISOR_GENERATION"

// CleanEnv returns env without the variables that tell a process of
// descriptors or of a service manager that are meant for its parent.
func CleanEnv(env []string) []string {
	private := []string{fdpass.EnvFD, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
		"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID", "MANAGERPID",
		"FDSTORE", "SUPERVISOR_STATE"}
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(private, key)
	})
}
