package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// returnTimeout is how long a generation may take to say who it is and to
	// give its listeners back.
	returnTimeout = 5 * time.Second
	// acceptPause is how long nobody is let in after the system had no
	// descriptor for one who came.
	acceptPause = 100 * time.Millisecond
	// refusalLimit is how many different refusals are logged.
	refusalLimit = 100
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
	// Cookies tell which sockets the service's listeners are, by name: anything
	// else that a generation gives back is not taken.
	Cookies map[string]fdpass.Cookie
	// Logger takes what is refused; nil means none.
	Logger *slog.Logger
}

// A Rendezvous is where generations come back to whose supervisor was killed.
// They prove who they are: by the user and the process that connects (unix(7),
// SO_PEERCRED), which must be the one that was started, and by the token that
// this generation alone was told. Its methods may be called concurrently.
type Rendezvous struct {
	cfg    RendezvousConfig
	path   string
	log    *slog.Logger
	socket *fdpass.Rendezvous
	coming sync.WaitGroup
	ending chan struct{} // closed by Close

	mu       sync.Mutex
	expected map[int]*expectation
	own      map[int]string             // tokens of the generations that this supervisor has, by number
	settled  bool                       // those who are neither expected nor own are told to end
	visiting map[int]*fdpass.Conn       // processes that prove themselves now, by pid
	refused  map[string]bool            // what has been logged
	kept     map[string]fdpass.Listener // that were given back; nil if nobody will ask for them
	changed  chan struct{}              // closed and made anew when a generation has come back
}

// An expectation is a generation that may come back.
type expectation struct {
	state ProcessState
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
		expected: map[int]*expectation{}, own: map[int]string{}, visiting: map[int]*fdpass.Conn{}, refused: map[string]bool{}, changed: make(chan struct{}),
	}
	for _, p := range cfg.Missed {
		if lives(p) {
			r.expected[p.Generation] = &expectation{state: p}
		}
	}
	if len(r.expected) > 0 {
		r.kept = map[string]fdpass.Listener{}
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

// Gathered is who came back and what they brought.
type Gathered struct {
	// Survivors are all generations that live; those that have not come back
	// are mute.
	Survivors []Survivor
	// Listeners are one of each name that was given back; the caller owns them.
	Listeners []fdpass.Listener
}

// Gather waits for those of the missed generations that live to come back,
// until ctx is done. It is called once.
func (r *Rendezvous) Gather(ctx context.Context) Gathered {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		missing, changed := r.missing()
		if len(missing) == 0 {
			break
		}
		select {
		case <-changed:
			continue
		case <-tick.C:
			for _, p := range missing {
				if !lives(p) {
					r.forget(p.Generation)
				}
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	return r.gathered()
}

// lives is true also if it cannot be told: who is taken for dead is replaced, and
// who is taken for mute is not.
func lives(p ProcessState) bool {
	c, err := findChild(p.PID, p.StartTicks)
	c.close()
	return !errors.Is(err, errGone)
}

// missing are those who are expected and have not come.
func (r *Rendezvous) missing() (missing []ProcessState, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.expected {
		if e.came == nil {
			missing = append(missing, e.state)
		}
	}
	return missing, r.changed
}

func (r *Rendezvous) gathered() Gathered {
	r.mu.Lock()
	defer r.mu.Unlock()
	var g Gathered
	for n, e := range r.expected {
		if e.came == nil {
			g.Survivors = append(g.Survivors, Survivor{Generation: n, Mute: true})
			continue
		}
		e.came.counted = true
		g.Survivors = append(g.Survivors, e.came.survivor())
	}
	for _, l := range r.kept {
		g.Listeners = append(g.Listeners, l)
	}
	r.kept = nil
	slices.SortFunc(g.Survivors, func(a, b Survivor) int { return a.Generation - b.Generation })
	slices.SortFunc(g.Listeners, func(a, b fdpass.Listener) int { return cmp.Compare(a.Name, b.Name) })
	return g
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

// keep keeps one listener of each name, and closes the others.
func (r *Rendezvous) keep(given []fdpass.Listener) {
	for _, l := range given {
		if _, ok := r.kept[l.Name]; ok || r.kept == nil {
			closeFD(l.FD)
			continue
		}
		r.kept[l.Name] = l
	}
}

// serve takes those who connect. It waits for nobody, so that no one who says
// nothing can keep a generation out.
func (r *Rendezvous) serve() {
	for {
		conn, peer, err := r.socket.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor was left for the connection
			r.log.Warn("cannot let anybody in at the rendezvous", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-r.ending:
			}
			continue
		}
		closeFD(peer.PIDFD) // findChild opens its own, for the process that is expected
		if err := r.enter(conn, peer); err != nil {
			r.refuse(peer, 0, err)
			_ = conn.SetWriteDeadline(time.Now().Add(returnTimeout))
			_ = conn.Send(fdpass.Error{Reason: err.Error()}) // there is room for it: nothing was sent yet
			_ = conn.Close()
			continue
		}
		r.coming.Go(func() {
			defer r.leave(peer)
			r.receive(conn, peer)
		})
	}
}

// enter judges a peer by what the kernel says of it: one that cannot be any that
// is missed is not listened to, unless it may have to be dismissed.
func (r *Rendezvous) enter(conn *fdpass.Conn, peer fdpass.Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := false
	for _, e := range r.expected {
		known = known || e.state.PID == peer.PID
	}
	switch {
	case r.hasEnded():
		return errors.New("the supervisor ends")
	case peer.UID != os.Geteuid():
		return fmt.Errorf("uid %d is not that of the service", peer.UID)
	case !known && !r.settled:
		return fmt.Errorf("process %d is no generation that is missed", peer.PID)
	case r.visiting[peer.PID] != nil:
		return fmt.Errorf("process %d is coming back already", peer.PID)
	}
	r.visiting[peer.PID] = conn
	return nil
}

func (r *Rendezvous) leave(peer fdpass.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.visiting, peer.PID)
}

// refuse logs a refusal, once: those who are refused try again.
func (r *Rendezvous) refuse(peer fdpass.Peer, claims int, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprintf("%d %v", peer.PID, why)
	if r.refused[key] || len(r.refused) >= refusalLimit {
		return
	}
	r.refused[key] = true
	r.log.Warn("refused somebody at the rendezvous", "peer_pid", peer.PID, "peer_uid", peer.UID, "claims_generation", claims, "reason", why)
}

// receive lets one peer prove itself and give its listeners back.
func (r *Rendezvous) receive(conn *fdpass.Conn, peer fdpass.Peer) {
	_ = conn.SetReadDeadline(time.Now().Add(returnTimeout))
	_ = conn.SetWriteDeadline(time.Now().Add(returnTimeout))
	said, given, err := fdpass.TakeBack(conn, func(said fdpass.Rejoin) (fdpass.Welcome, error) { return r.admit(said, peer) })
	if err == nil {
		err = r.arrived(conn, said, given)
	}
	if err != nil {
		r.refuse(peer, said.Generation, err)
		_ = conn.Close()
	}
}

// admit judges what a peer says of itself.
func (r *Rendezvous) admit(said fdpass.Rejoin, peer fdpass.Peer) (fdpass.Welcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.expected[said.Generation]
	switch {
	case said.Service != r.cfg.Service:
		return fdpass.Welcome{}, fmt.Errorf("this is service %q", r.cfg.Service)
	case e == nil && r.settled && !said.Proves(r.own[said.Generation]):
		return fdpass.Welcome{}, &fdpass.Dismissal{Reason: fmt.Sprintf("generation %d is unknown to this supervisor, whose own generations serve: it is to drain and to end", said.Generation)}
	case e == nil:
		return fdpass.Welcome{}, fmt.Errorf("generation %d is not missed", said.Generation)
	case !said.Proves(e.state.Token):
		return fdpass.Welcome{}, errors.New("the token is wrong")
	case peer.PID != e.state.PID:
		return fdpass.Welcome{}, fmt.Errorf("generation %d is another process", said.Generation)
	case e.came != nil && !e.isForsaken():
		return fdpass.Welcome{}, fmt.Errorf("generation %d has come back already", said.Generation)
	}
	return fdpass.Welcome{
		Service: r.cfg.Service, Generation: said.Generation, StatsMS: fdpass.Milliseconds(r.cfg.StatsInterval),
		Rendezvous: r.path, Token: e.state.Token,
	}, nil
}

// arrived takes the channel and the listeners of a generation.
func (r *Rendezvous) arrived(conn *fdpass.Conn, said fdpass.Rejoin, given []fdpass.Listener) error {
	_ = conn.SetReadDeadline(time.Time{})
	_ = conn.SetWriteDeadline(time.Time{})
	a := arrival{conn: conn, said: said}
	take, err := r.note(&a, r.genuine(said.Generation, given))
	if take != nil {
		take(a)
	}
	return err
}

// genuine are the listeners that are the service's; it closes the others. Their
// generation has proved who it is: it may have them from before the service's
// own were changed.
func (r *Rendezvous) genuine(generation int, given []fdpass.Listener) []fdpass.Listener {
	return slices.DeleteFunc(given, func(l fdpass.Listener) bool {
		known, ok := r.cfg.Cookies[l.Name]
		if ok && known == l.Cookie {
			return false
		}
		r.log.Warn("a generation gives back a socket that is none of the service's listeners; it is not taken", "generation", generation, "listener", l.Name, "address", l.Address)
		closeFD(l.FD)
		return true
	})
}

// note puts an arrival down, and tells who takes it now.
func (r *Rendezvous) note(a *arrival, given []fdpass.Listener) (take func(arrival), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.expected[a.said.Generation]
	if e == nil || e.came != nil && !e.isForsaken() {
		closeListeners(given)
		return nil, fmt.Errorf("generation %d is not missed any more", a.said.Generation)
	}
	if e.came != nil {
		_ = e.came.conn.Close()
		a.counted = e.came.counted
	}
	e.came = a
	r.keep(given)
	r.log.Info("a generation came back", "generation", a.said.Generation, "pid", e.state.PID, "listeners", len(given))
	close(r.changed)
	r.changed = make(chan struct{})
	return e.take, nil
}

func closeListeners(all []fdpass.Listener) {
	for _, l := range all {
		closeFD(l.FD)
	}
}
