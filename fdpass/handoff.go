package fdpass

import (
	"fmt"
	"os"
)

// Offer is the supervisor's end of the handoff: it waits for the child's
// [Hello], answers with the [Welcome], sends the listeners in batches, each
// acknowledged before the next, and compares count and cookies of what the
// child received. It sets Protocol, Listeners and Probe of w. probeFD is the
// listening socket for health requests, or -1. Every descriptor is borrowed.
//
// The Hello is valid if the child said one, even with an error. The error wraps
// [ErrProtocol], [ErrCount] or [ErrCookie] or is a [*MessageError] if the child
// broke the protocol, which it is told with an [Error] message; a [*PeerError]
// if the child said failed; io.EOF if it is gone. Offer waits as long as the
// child lets it: use SetReadDeadline and SetWriteDeadline, or Close, to bound it.
func Offer(c *Conn, w Welcome, probeFD int, ls []Listener) (Hello, error) {
	w.Protocol, w.Listeners, w.Probe = Protocol, len(ls), probeFD >= 0
	o := offer{c: c, welcome: w, probe: probeFD, listeners: ls}
	hello, err := o.run()
	if err != nil {
		return hello, fmt.Errorf("cannot hand %d listeners to generation %d: %w", len(ls), w.Generation, err)
	}
	return hello, nil
}

type offer struct {
	c         *Conn
	welcome   Welcome
	probe     int
	listeners []Listener
}

func (o offer) run() (Hello, error) {
	if err := o.check(); err != nil {
		return Hello{}, err
	}
	hello, err := o.receiveHello()
	if err == nil {
		err = o.send()
	}
	if err != nil && isViolation(err) {
		// Best effort: the violation is what the caller has to hear of.
		_ = o.c.Send(Error{Reason: err.Error()})
	}
	return hello, err
}

// check finds the faults of this side before the child is told anything.
func (o offer) check() error {
	if err := o.welcome.validate(); err != nil {
		return err
	}
	return checkGift(o.listeners)
}

// checkGift finds the faults of listeners before they are sent.
func checkGift(ls []Listener) error {
	if err := checkListeners(ls); err != nil {
		return err
	}
	for _, l := range ls {
		if err := l.Verify(); err != nil {
			return err
		}
	}
	return nil
}

func (o offer) receiveHello() (Hello, error) {
	hello, err := expect[Hello](o.c)
	if err != nil {
		return Hello{}, err
	}
	if hello.Protocol != Protocol {
		return hello, fmt.Errorf("%w: the child speaks version %d and the supervisor version %d; "+
			"build the service with a library for version %[3]d", ErrProtocol, hello.Protocol, Protocol)
	}
	return hello, nil
}

func (o offer) send() error {
	var probe []int
	if o.welcome.Probe {
		probe = []int{o.probe}
	}
	if err := say(o.c, o.welcome, probe...); err != nil {
		return err
	}
	return give(o.c, o.listeners)
}

// give sends listeners, which it borrows, in batches, each acknowledged before
// the next.
func give(c *Conn, ls []Listener) error {
	batches := batchesOf(ls)
	for i, batch := range batches {
		if err := giveBatch(c, Listeners{Batch: i + 1, Of: len(batches), Listeners: batch}); err != nil {
			return err
		}
	}
	return nil
}

func giveBatch(c *Conn, m Listeners) error {
	fds := make([]int, len(m.Listeners))
	for i, l := range m.Listeners {
		fds[i] = l.FD
	}
	if err := say(c, m, fds...); err != nil {
		return err
	}
	got, err := expect[Received](c)
	if err != nil {
		return err
	}
	return compare(m, got)
}

// compare reports what of a batch did not arrive as it was sent.
func compare(sent Listeners, got Received) error {
	if got.Batch != sent.Batch {
		return &MessageError{Type: got.kind(),
			Err: fmt.Errorf("it acknowledges batch %d instead of %d", got.Batch, sent.Batch)}
	}
	if got.Count != len(sent.Listeners) || len(got.Cookies) != len(sent.Listeners) {
		return fmt.Errorf("%w: the peer received %d listeners and %d cookies of batch %d, which has %d",
			ErrCount, got.Count, len(got.Cookies), sent.Batch, len(sent.Listeners))
	}
	for i, l := range sent.Listeners {
		if got.Cookies[i] != l.Cookie {
			return fmt.Errorf("%w: the peer holds socket %d as listener %q instead of %d",
				ErrCookie, got.Cookies[i], l.Name, l.Cookie)
		}
	}
	return nil
}

// Accept is the child's end of the handoff: it sends the [Hello], with Protocol
// set and PID too unless it is given, and receives the [Welcome], the probe
// descriptor (-1 if there is none) and all listeners, each verified. It gives
// the descriptors. On an error it closes all that it received and, unless the
// supervisor is gone or gave up by itself, says [Failed] with the reason. The
// errors are as those of [Offer]; [ErrDescriptorsLost] means that this process
// may not open enough descriptors.
func Accept(c *Conn, h Hello) (Welcome, []Listener, int, error) {
	h.Protocol = Protocol
	if h.PID == 0 {
		h.PID = os.Getpid()
	}
	in := intake{batches: newBatches(c), probe: -1}
	if err := in.run(h); err != nil {
		in.close()
		if isViolation(err) {
			// Best effort: the violation is what the caller has to hear of.
			_ = c.Send(Failed{Reason: err.Error()})
		}
		return Welcome{}, nil, -1, fmt.Errorf("cannot accept the listeners of the supervisor: %w", err)
	}
	return in.welcome, in.listeners, in.probe, nil
}

// An intake owns what a child has received so far.
type intake struct {
	batches
	welcome Welcome
	probe   int
}

func (in *intake) close() {
	if in.probe >= 0 {
		closeFDs([]int{in.probe})
	}
	in.batches.close()
}

func (in *intake) run(h Hello) error {
	if err := say(in.c, h); err != nil {
		return err
	}
	if err := in.receiveWelcome(); err != nil {
		return err
	}
	return in.receive(in.welcome.Listeners)
}

func (in *intake) receiveWelcome() error {
	m, fds, err := receive[Welcome](in.c)
	if err != nil {
		return err
	}
	if len(fds) > 0 {
		in.probe = fds[0]
	}
	if m.Protocol != Protocol {
		return fmt.Errorf("%w: the supervisor speaks version %d and the child version %d",
			ErrProtocol, m.Protocol, Protocol)
	}
	in.welcome = m
	return nil
}
