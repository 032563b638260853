package fdpass

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
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
	if err := checkListeners(o.listeners); err != nil {
		return err
	}
	for _, l := range o.listeners {
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
	batches := batchesOf(o.listeners)
	for i, batch := range batches {
		if err := o.sendBatch(Listeners{Batch: i + 1, Of: len(batches), Listeners: batch}); err != nil {
			return err
		}
	}
	return nil
}

func (o offer) sendBatch(m Listeners) error {
	fds := make([]int, len(m.Listeners))
	for i, l := range m.Listeners {
		fds[i] = l.FD
	}
	if err := say(o.c, m, fds...); err != nil {
		return err
	}
	got, err := expect[Received](o.c)
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
		return fmt.Errorf("%w: the child received %d listeners and %d cookies of batch %d, which has %d",
			ErrCount, got.Count, len(got.Cookies), sent.Batch, len(sent.Listeners))
	}
	for i, l := range sent.Listeners {
		if got.Cookies[i] != l.Cookie {
			return fmt.Errorf("%w: the child holds socket %d as listener %q instead of %d",
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
	in := intake{c: c, probe: -1, names: make(map[string]struct{})}
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
	c         *Conn
	welcome   Welcome
	probe     int
	listeners []Listener
	names     map[string]struct{}
}

func (in *intake) close() {
	if in.probe >= 0 {
		closeFDs([]int{in.probe})
	}
	for _, l := range in.listeners {
		closeFDs([]int{l.FD})
	}
}

func (in *intake) run(h Hello) error {
	if err := say(in.c, h); err != nil {
		return err
	}
	if err := in.receiveWelcome(); err != nil {
		return err
	}
	of := 0
	for batch := 1; len(in.listeners) < in.welcome.Listeners; batch++ {
		m, err := in.receiveBatch()
		if err != nil {
			return err
		}
		if batch == 1 {
			of = m.Of
		}
		if err := in.take(m, batch, of); err != nil {
			return err
		}
	}
	return nil
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

// receiveBatch makes the batch's descriptors those of the intake at once, so
// that they are closed whatever is found to be wrong with them.
func (in *intake) receiveBatch() (Listeners, error) {
	m, fds, err := receive[Listeners](in.c)
	if err != nil {
		return m, err
	}
	for i, fd := range fds {
		m.Listeners[i].FD = fd
	}
	in.listeners = append(in.listeners, m.Listeners...)
	return m, nil
}

// take judges a batch and acknowledges it.
func (in *intake) take(m Listeners, batch, of int) error {
	if m.Batch != batch || m.Of != of {
		return &MessageError{Type: m.kind(),
			Err: fmt.Errorf("it is batch %d of %d where %d of %d was due", m.Batch, m.Of, batch, of)}
	}
	want := in.welcome.Listeners
	if have := len(in.listeners); have > want || (batch == of) != (have == want) {
		return fmt.Errorf("%w: %d listeners came with batch %d of %d and %d were announced",
			ErrCount, have, batch, of, want)
	}
	for _, l := range m.Listeners {
		if _, twice := in.names[l.Name]; twice {
			return &MessageError{Type: m.kind(), Err: fmt.Errorf("listener %q is named twice", l.Name)}
		}
		in.names[l.Name] = struct{}{}
	}
	return in.acknowledge(m)
}

// acknowledge tells the truth about what was received even if it is wrong:
// the supervisor then knows which listener it is about.
func (in *intake) acknowledge(m Listeners) error {
	reply := Received{Batch: m.Batch, Count: len(m.Listeners), Cookies: make([]Cookie, 0, len(m.Listeners))}
	var wrong error
	for _, l := range m.Listeners {
		cookie, err := l.verify()
		if err != nil && wrong == nil {
			wrong = &MessageError{Type: m.kind(), Err: fmt.Errorf("listener %q: %w", l.Name, err)}
		}
		reply.Cookies = append(reply.Cookies, cookie)
	}
	return errors.Join(say(in.c, reply), wrong)
}

// say sends a message. A peer that left before it may have said why.
func say(c *Conn, m Message, fds ...int) error {
	err := c.Send(m, fds...)
	if !errors.Is(err, syscall.EPIPE) {
		return err
	}
	for {
		got, fds, err := c.Receive()
		closeFDs(fds)
		var bad *MessageError
		switch {
		case errors.As(err, &bad):
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the peer closed the channel before %s was sent: %w", m.kind(), err)
		case err != nil:
			return err
		case peerError(got) != nil:
			return peerError(got)
		}
	}
}

// peerError is what a peer says that gives up, or nil.
func peerError(m Message) error {
	switch m := m.(type) {
	case Failed:
		return &PeerError{Type: m.kind(), Reason: m.Reason}
	case Error:
		return &PeerError{Type: m.kind(), Reason: m.Reason}
	}
	return nil
}

// expect receives a message of one type that comes without descriptors.
func expect[M Message](c *Conn) (M, error) {
	m, _, err := receive[M](c)
	return m, err
}

// receive waits for a message of one type. A peer that says failed or error
// instead is a *PeerError; any other message is out of place.
func receive[M Message](c *Conn) (M, []int, error) {
	var none M
	got, fds, err := c.Receive()
	if errors.Is(err, io.EOF) {
		return none, nil, fmt.Errorf("the peer closed the channel before it sent %s: %w", none.kind(), err)
	}
	if err != nil {
		return none, nil, fmt.Errorf("cannot receive %s: %w", none.kind(), err)
	}
	if m, ok := got.(M); ok {
		return m, fds, nil
	}
	closeFDs(fds)
	if err := peerError(got); err != nil {
		return none, nil, err
	}
	return none, nil, &MessageError{Type: got.kind(), Err: fmt.Errorf("it came where %s was due", none.kind())}
}
