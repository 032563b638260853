package upgrade

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// returnTimeout is how long a generation may take to say who it is and to
	// give its listeners back.
	returnTimeout = 5 * time.Second
	// earlyTimeout is how long Gather waits for a generation that never was ready:
	// it may have been killed off, or hang before its hello, and no upgrade goes on
	// with it. Generations try at least once a second.
	earlyTimeout = 1500 * time.Millisecond
	// acceptPause is how long nobody is let in after the system had no
	// descriptor for one who came.
	acceptPause = 100 * time.Millisecond
	// refusalLimit is how many refusals are logged in a minute, and refusalMemory
	// for how long the same one is not logged again.
	refusalLimit  = 20
	refusalMemory = time.Hour
)

// RendezvousConfig says what is to be known of a rendezvous.
type RendezvousConfig struct {
	// Path is where the socket is made. The caller has the directory locked.
	Path string
	// Service is the name that a generation must say.
	Service string
	// StatsInterval is as in LauncherConfig.
	StatsInterval time.Duration
	// Missed are the generations of a supervisor that was killed, whom Gather
	// waits for.
	Missed []ProcessState
	// Known are the service's listeners, of which two may have the same name while
	// one takes the other's place: anything else that a generation gives back is
	// not taken.
	Known map[Known]bool
	// Logger takes what is refused; nil means none.
	Logger *slog.Logger
}

// Known is what identifies a listener.
type Known struct {
	Name   string
	Cookie fdpass.Cookie
}

func known(l fdpass.Listener) Known { return Known{l.Name, l.Cookie} }

// A Rendezvous is where generations come back to whose supervisor was killed.
// They prove who they are: by the user and the process that connects (unix(7),
// SO_PEERCRED), which must be the one that was started, and by the token that
// this generation alone was told. So do those whose channel was lost while their
// supervisor lives. Its methods may be called concurrently.
type Rendezvous struct {
	cfg    RendezvousConfig
	path   string
	log    *slog.Logger
	socket *fdpass.Rendezvous
	coming sync.WaitGroup
	ending chan struct{} // closed by Close

	mu       sync.Mutex
	expected map[int]*expectation
	own      map[int]string            // tokens of the generations that this supervisor has, by number
	settled  bool                      // those who are neither expected nor own are told to end
	visiting map[int]*fdpass.Conn      // processes that prove themselves now, by pid
	refused  map[string]time.Time      // what has been logged lately, and when
	refusals quota                     // of those that are logged
	kept     map[Known]fdpass.Listener // that were given back; nil if nobody will ask for them
	changed  chan struct{}             // closed and made anew when a generation has come back
}

// An expectation is a generation that may come back.
type expectation struct {
	state ProcessState
	stats int64 // the interval of its statistics, in ms
	came  *arrival
	take  func(arrival) // nil: kept in came
}

// isForsaken tells that a generation came back, and has closed that channel before
// anybody took it: its patience was over, and it comes again.
func (e *expectation) isForsaken() bool {
	return e.take == nil && e.came != nil && e.came.conn.HungUp()
}

// An arrival is a generation that came back. Whoever takes it owns conn.
type arrival struct {
	conn    *fdpass.Conn
	said    fdpass.Rejoin
	counted bool // among the survivors of Gather
}

func (a arrival) survivor() Survivor {
	return Survivor{
		Generation: a.said.Generation, Ready: a.said.Ready, Draining: a.said.Draining,
		CanPause: slices.Contains(a.said.Capabilities, fdpass.CanPause),
	}
}

// OpenRendezvous makes the socket and listens on it until Close.
func OpenRendezvous(cfg RendezvousConfig) (*Rendezvous, error) {
	r := &Rendezvous{
		cfg: cfg, path: cfg.Path, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), ending: make(chan struct{}),
		expected: map[int]*expectation{}, own: map[int]string{}, visiting: map[int]*fdpass.Conn{}, refused: map[string]time.Time{}, changed: make(chan struct{}),
	}
	for _, p := range cfg.Missed {
		if lives(p) {
			r.expected[p.Generation] = &expectation{state: p}
		}
	}
	if len(r.expected) > 0 {
		r.kept = map[Known]fdpass.Listener{}
	}
	// Only now: one who comes before it is missed would be refused.
	socket, err := fdpass.ListenRendezvous(cfg.Path)
	if err != nil {
		return nil, err
	}
	r.socket = socket
	r.coming.Go(r.serve)
	return r, nil
}

// Close ends it, interrupts those who are coming back, and removes the socket. A
// second Close does nothing.
func (r *Rendezvous) Close() error {
	if !r.end() {
		return nil
	}
	err := r.socket.Close()
	r.coming.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.expected {
		if e.came != nil && e.take == nil {
			_ = e.came.conn.Close()
		}
	}
	clear(r.expected)
	for _, l := range r.kept {
		closeFD(l.FD)
	}
	r.kept = nil
	return err
}

// end lets nobody in any more; false if that was so already.
func (r *Rendezvous) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasEnded() {
		return false
	}
	close(r.ending)
	for _, conn := range r.visiting {
		_ = conn.Close()
	}
	return true
}

func (r *Rendezvous) hasEnded() bool {
	select {
	case <-r.ending:
		return true
	default:
		return false
	}
}

// expect has take called when the generation comes back, or at once if it has.
func (r *Rendezvous) expect(p ProcessState, take func(arrival)) {
	r.mu.Lock()
	e := r.expected[p.Generation]
	if e == nil {
		e = &expectation{state: p}
		r.expected[p.Generation] = e
	}
	e.take = take
	came := e.came
	r.mu.Unlock()
	if came != nil {
		take(*came)
	}
}

// miss expects a generation anew that lost its channel while its supervisor lives;
// w is what it is to be told, as at its start.
func (r *Rendezvous) miss(p ProcessState, w fdpass.Welcome, take func(arrival)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected[p.Generation] = &expectation{state: p, stats: w.StatsMS, take: take}
}

// Settle has those told to drain and to end from now on who come back and are
// known by no name: what a supervisor wrote down of them is lost, so that nobody
// will ever take them over, and they would accept beside others for ever. It is
// called when others accept. A second Settle does nothing.
func (r *Rendezvous) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = true
}

// claim notes a generation that this supervisor has, which is never dismissed,
// whatever becomes of its channel. disclaim forgets it when it has ended.
func (r *Rendezvous) claim(generation int, token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own[generation] = token
}

func (r *Rendezvous) disclaim(generation int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.own, generation)
}

// forget ends an expectation.
func (r *Rendezvous) forget(generation int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.expected[generation]; e != nil && e.came != nil && e.take == nil {
		_ = e.came.conn.Close()
	}
	delete(r.expected, generation)
}

// keep keeps each socket once, and closes what comes again.
func (r *Rendezvous) keep(given []fdpass.Listener) {
	for _, l := range given {
		if _, ok := r.kept[known(l)]; ok || r.kept == nil {
			closeFD(l.FD)
			continue
		}
		r.kept[known(l)] = l
	}
}
