package fdpass

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
)

// Proves reports whether the child knows the secret of its generation. It takes
// as long for a wrong token as for the right one.
func (m Rejoin) Proves(token string) bool {
	return token != "" && subtle.ConstantTimeCompare([]byte(m.Token), []byte(token)) == 1
}

// GiveBack is the child's end of a rejoin, on a connection to the rendezvous of
// its new supervisor: it says r, with Protocol and Listeners set and PID too
// unless it is given, gives the supervisor copies of the listeners, which it
// borrows, and waits for the [Welcome]. From then on the connection is the
// channel. The Welcome has no probe: the child keeps the one that it has.
//
// A supervisor that refuses is a [*PeerError], which says whether it does so for
// good; the other errors are as those of
// [Accept]. The supervisor may hold copies of some listeners even then. GiveBack
// waits as long as the supervisor lets it: use SetReadDeadline and
// SetWriteDeadline, or Close, to bound it.
func GiveBack(c *Conn, r Rejoin, ls []Listener) (Welcome, error) {
	r.Protocol, r.Listeners = Protocol, len(ls)
	if r.PID == 0 {
		r.PID = os.Getpid()
	}
	w, err := giveBack(c, r, ls)
	if err == nil {
		return w, nil
	}
	if isViolation(err) {
		// Best effort: the violation is what the caller has to hear of.
		_ = c.Send(Failed{Reason: err.Error()})
	}
	return Welcome{}, fmt.Errorf("cannot rejoin the supervisor with %d listeners: %w", len(ls), err)
}

func giveBack(c *Conn, r Rejoin, ls []Listener) (Welcome, error) {
	if err := checkGift(ls); err != nil {
		return Welcome{}, err
	}
	if err := say(c, r); err != nil {
		return Welcome{}, err
	}
	if err := give(c, ls); err != nil {
		return Welcome{}, err
	}
	w, fds, err := receive[Welcome](c)
	if err != nil {
		return Welcome{}, err
	}
	closeFDs(fds)
	return w, r.check(w)
}

// check reports what in the answer to a rejoin cannot be so.
func (m Rejoin) check(w Welcome) error {
	switch {
	case w.Protocol != Protocol:
		return fmt.Errorf("%w: the supervisor speaks version %d and the child version %d",
			ErrProtocol, w.Protocol, Protocol)
	case w.Service != m.Service || w.Generation != m.Generation:
		return &MessageError{Type: w.kind(), Err: fmt.Errorf("it is for generation %d of %q, not for generation %d of %q",
			w.Generation, w.Service, m.Generation, m.Service)}
	case w.Listeners != m.Listeners:
		return fmt.Errorf("%w: the supervisor took %d listeners of %d", ErrCount, w.Listeners, m.Listeners)
	case w.Probe:
		return &MessageError{Type: w.kind(), Err: errors.New("it brings a probe, which the child has already")}
	}
	return nil
}

// TakeBack is the supervisor's end of a rejoin: it waits for the child's
// [Rejoin], has admit judge it, receives the listeners that the child gives
// back, and answers with the [Welcome] that admit returned, whose Protocol,
// Listeners and Probe it sets. It gives the descriptors. From then on c is the
// channel.
//
// No descriptor is taken before admit has agreed; its error is told to the
// child, word for word, and returned wrapped; a [*Dismissal] is told as one. Of each listener everything is
// asked of the kernel anew: a child may lie. It is then as [Listener.Restore]
// leaves it. Whether it is one of the service's is for the caller to judge, by
// its cookie.
//
// The Rejoin is valid if the child said one, even with an error, on which all
// descriptors are closed. The other errors are as those of [Offer]. TakeBack
// waits as long as the child lets it: use SetReadDeadline and SetWriteDeadline,
// or Close, to bound it.
func TakeBack(c *Conn, admit func(Rejoin) (Welcome, error)) (Rejoin, []Listener, error) {
	in := newBatches(c)
	in.inspect = Listener.inspect
	r, err := takeBack(&in, admit)
	if err == nil {
		return r, in.listeners, nil
	}
	in.close()
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		var forGood *Dismissal
		_ = c.Send(Error{Reason: refused.Error(), Dismissed: errors.As(refused.error, &forGood)})
	case isViolation(err):
		// Best effort: the violation is what the caller has to hear of.
		_ = c.Send(Error{Reason: err.Error()})
	}
	if r.Generation > 0 {
		return r, nil, fmt.Errorf("cannot take generation %d (process %d) back: %w", r.Generation, r.PID, err)
	}
	return r, nil, fmt.Errorf("cannot take a generation back: %w", err)
}

// A refusal is what admit said.
type refusal struct{ error }

func (e *refusal) Unwrap() error { return e.error }

func takeBack(in *batches, admit func(Rejoin) (Welcome, error)) (Rejoin, error) {
	r, err := expect[Rejoin](in.c)
	if err != nil {
		return Rejoin{}, err
	}
	if r.Protocol != Protocol {
		return r, fmt.Errorf("%w: the child speaks version %d and the supervisor version %d",
			ErrProtocol, r.Protocol, Protocol)
	}
	w, err := admit(r)
	if err != nil {
		return r, &refusal{err}
	}
	w.Protocol, w.Listeners, w.Probe = Protocol, r.Listeners, false
	if err := w.validate(); err != nil {
		return r, err
	}
	if err := in.receive(r.Listeners); err != nil {
		return r, err
	}
	for _, l := range in.listeners {
		if err := l.Restore(); err != nil {
			return r, err
		}
	}
	return r, say(in.c, w)
}

// inspect compares what a peer says of a listener with what the kernel says.
func (l Listener) inspect() error {
	is, err := describe(Listener{Name: l.Name, FD: l.FD})
	if err != nil {
		return err
	}
	if is.Network != l.Network || is.Address != l.Address {
		return fmt.Errorf("it is %s %s, not %s %s", is.Network, is.Address, l.Network, l.Address)
	}
	return nil
}
