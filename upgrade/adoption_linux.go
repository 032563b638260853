package upgrade

import (
	"errors"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

// searchPause is how long it is, at first and at most, until an adopted process
// that could not be looked for is looked for again.
const (
	searchPause    = 20 * time.Millisecond
	maxSearchPause = time.Second
)

// adopt takes over what another supervisor knew. The error is that of find.
func (p *process) adopt(s ProcessState) error {
	p.token, p.adopted = s.Token, true
	p.snapshot = Snapshot{
		PID: s.PID, Program: s.Program, Joined: s.Joined, ProbeSocket: s.ProbeSocket,
	}
	p.introduced(s.Library, s.Capabilities)
	p.figures.restore(s.Listeners, p.launcher.index)
	if err := p.grip(); err != nil {
		p.log.Warn("cannot keep hold of all processes of an adopted generation", "error", err)
		p.hold = noHold{}
	}
	p.child = child{pid: s.PID, ticks: s.StartTicks} // as far as is known until it is found
	return p.find(s)
}

// runAdopted is the rest of the life of a process that runs already. missing is
// why it has not been found, if so: unless it has ended it is taken to be alive.
func (p *process) runAdopted(s ProcessState, missing error) {
	p.reach(s, missing)
	if missing != nil && !errors.Is(missing, errGone) {
		missing = p.search(s, missing)
	}
	if missing == nil {
		p.live()
		return
	}
	p.hearOut()
	p.parting.Lock()
	defer p.parting.Unlock()
	p.exited(Exited{Reason: "ended while it had no supervisor"})
}

// reach goes on with the channel of an adopted process, or waits at the rendezvous
// for another.
func (p *process) reach(s ProcessState, missing error) {
	r := p.launcher.cfg.Rendezvous
	if s.Channel == 0 {
		if r != nil && !errors.Is(missing, errGone) {
			r.expect(s, p.returned)
		}
		return
	}
	conn, err := fdpass.NewConn(s.Channel)
	if err == nil {
		p.converse(conn, nil)
		return
	}
	closeFD(s.Channel)
	p.deliver(ChannelLost{p.number, "cannot be spoken to: " + err.Error()})
	if r != nil {
		r.miss(s, p.launcher.welcome(p.number, p.token, 0), p.returned)
	}
}

// find takes hold of an adopted process. The error is errGone if it has ended;
// after any other it may live.
func (p *process) find(s ProcessState) error {
	if r := p.launcher.cfg.Rendezvous; r != nil && s.StartTicks == 0 {
		s.StartTicks = r.proven(p.number)
	}
	c, err := p.launcher.find(s.PID, s.StartTicks)
	if err != nil {
		return err
	}
	p.launcher.cfg.Children(c.pid, true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child, p.alive = c, true
	if p.signal != 0 { // wanted meanwhile
		_ = c.signal(p.signal, p.signal == syscall.SIGKILL)
	}
	return nil
}

// search looks for an adopted process again and again: one that cannot be looked
// for, because no descriptor is left for instance, is not one that has ended. To
// take it for dead would be to kill what is left of it, or to start another beside
// it. It ends with a process that is found or has ended, or when one is to be
// killed of which nobody knows which it is.
func (p *process) search(s ProcessState, why error) error {
	p.log.Error("cannot take hold of a generation, which is taken to be alive; tries again", "pid", s.PID, "error", why)
	for pause := searchPause; ; pause = min(2*pause, maxSearchPause) {
		time.Sleep(pause)
		why = p.find(s)
		switch {
		case why == nil:
			p.log.Info("has taken hold of the generation", "pid", s.PID)
			return nil
		case errors.Is(why, errGone):
			return why
		case errors.Is(why, errUnproven) && p.isCondemned():
			p.log.Error("leaves a process alone that may be the generation, or another", "pid", s.PID)
			return why
		}
	}
}

// isCondemned tells that the process was to be killed before it was found.
func (p *process) isCondemned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal == syscall.SIGKILL
}

// returned takes the channel of a generation that came back.
func (p *process) returned(a arrival) {
	p.mu.Lock()
	p.snapshot.Joined = true
	p.introduced(a.said.Library, a.said.Capabilities)
	p.mu.Unlock()
	if p.converse(a.conn, nil) && !a.counted {
		p.deliver(Rejoined{a.survivor()})
	}
}
