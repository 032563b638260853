package upgrade

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"example.com/supervisor/fdpass"
)

// serve takes those who connect. It waits for nobody, so that no one who says
// nothing can keep a generation out.
func (r *Rendezvous) serve() {
	var complaints quota
	for {
		conn, peer, err := r.socket.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor was left for the connection
			if complaints.take(time.Now(), 1, time.Minute) {
				r.log.Warn("cannot let anybody in at the rendezvous; tries on", "error", err)
			}
			select {
			case <-time.After(acceptPause):
			case <-r.ending:
			}
			continue
		}
		if err := r.enter(conn, peer); err != nil {
			r.refuse(peer, 0, err)
			_ = conn.SetWriteDeadline(time.Now().Add(returnTimeout))
			_ = conn.Send(fdpass.Error{Reason: err.Error()}) // there is room for it: nothing was sent yet
			_ = conn.Close()
			closeFD(peer.PIDFD)
			continue
		}
		r.coming.Go(func() {
			defer closeFD(peer.PIDFD)
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

// refuse logs a refusal, and the same one not again for long: those who are
// refused try again.
func (r *Rendezvous) refuse(peer fdpass.Peer, claims int, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, key := time.Now(), fmt.Sprintf("%d %v", peer.PID, why)
	maps.DeleteFunc(r.refused, func(_ string, at time.Time) bool { return now.Sub(at) >= refusalMemory })
	if _, known := r.refused[key]; known || !r.refusals.take(now, refusalLimit, time.Minute) {
		return
	}
	r.refused[key] = now // no more than an hour of such minutes
	r.log.Warn("refused somebody at the rendezvous", "peer_pid", peer.PID, "peer_uid", peer.UID, "claims_generation", claims, "reason", why)
}

// receive lets one peer prove itself and give its listeners back.
func (r *Rendezvous) receive(conn *fdpass.Conn, peer fdpass.Peer) {
	_ = conn.SetReadDeadline(time.Now().Add(returnTimeout))
	_ = conn.SetWriteDeadline(time.Now().Add(returnTimeout))
	said, given, err := fdpass.TakeBack(conn, func(said fdpass.Rejoin) (fdpass.Welcome, error) { return r.admit(said, peer) })
	if err == nil {
		err = r.arrived(conn, said, given)
	} else if len(given) > 0 { // it has proved itself, and may have ended: nobody else may hold them
		given = r.genuine(said.Generation, given)
		r.mu.Lock()
		r.keep(given)
		r.mu.Unlock()
	}
	if err != nil {
		_ = conn.Close()
	}
	if err != nil && !(errors.Is(err, io.EOF) && said.Token == "") { // one that said nothing wanted to see whether anybody is here
		r.refuse(peer, said.Generation, err)
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
	if e.state.StartTicks == 0 { // now it is known who it is
		ticks, err := startOf(peer)
		if err != nil {
			return fdpass.Welcome{}, err
		}
		e.state.StartTicks = ticks
	}
	return fdpass.Welcome{
		Service: r.cfg.Service, Generation: said.Generation, StatsMS: cmp.Or(e.stats, fdpass.Milliseconds(r.cfg.StatsInterval)),
		Rendezvous: r.path, Token: e.state.Token,
	}, nil
}

// startOf is when a peer was started that is there.
func startOf(peer fdpass.Peer) (uint64, error) {
	_, ticks, err := readStat(peer.PID)
	if err == nil && peer.PIDFD >= 0 && (child{pidfd: peer.PIDFD}).over(0) { // it may have been another's already
		err = errGone
	}
	if err != nil {
		return 0, fmt.Errorf("cannot tell when process %d was started: %w", peer.PID, err)
	}
	return ticks, nil
}

// proven is when a generation was started that has proved itself; 0 if that is not
// known.
func (r *Rendezvous) proven(generation int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.expected[generation]; e != nil {
		return e.state.StartTicks
	}
	return 0
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
	r.mu.Lock()
	wanted := r.kept != nil
	r.mu.Unlock()
	if !wanted { // the supervisor has its own
		closeListeners(given)
		return nil
	}
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
