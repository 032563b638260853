package fdpass

import (
	"errors"
	"fmt"
)

// batches owns the listeners that one side has received so far.
type batches struct {
	c         *Conn
	listeners []Listener
	names     map[string]struct{}
	// inspect, if set, judges a listener beyond its cookie.
	inspect func(Listener) error
}

func newBatches(c *Conn) batches {
	return batches{c: c, names: make(map[string]struct{})}
}

func (b *batches) close() { closeAll(b.listeners) }

func closeAll(ls []Listener) {
	for _, l := range ls {
		closeFDs([]int{l.FD})
	}
}

// receive receives as many listeners as were announced, and acknowledges them.
func (b *batches) receive(announced int) error {
	of := 0
	for batch := 1; len(b.listeners) < announced; batch++ {
		m, err := b.receiveBatch()
		if err != nil {
			return err
		}
		if batch == 1 {
			of = m.Of
		}
		if err := b.take(m, batch, of, announced); err != nil {
			return err
		}
	}
	return nil
}

// receiveBatch owns the batch's descriptors at once, so that they are closed
// whatever is found to be wrong with them.
func (b *batches) receiveBatch() (Listeners, error) {
	m, fds, err := receive[Listeners](b.c)
	if err != nil {
		return m, err
	}
	for i, fd := range fds {
		m.Listeners[i].FD = fd
	}
	b.listeners = append(b.listeners, m.Listeners...)
	return m, nil
}

// take judges a batch and acknowledges it.
func (b *batches) take(m Listeners, batch, of, announced int) error {
	if m.Batch != batch || m.Of != of {
		return &MessageError{Type: m.kind(),
			Err: fmt.Errorf("it is batch %d of %d where %d of %d was due", m.Batch, m.Of, batch, of)}
	}
	if have := len(b.listeners); have > announced || (batch == of) != (have == announced) {
		return fmt.Errorf("%w: %d listeners came with batch %d of %d and %d were announced",
			ErrCount, have, batch, of, announced)
	}
	for _, l := range m.Listeners {
		if _, twice := b.names[l.Name]; twice {
			return &MessageError{Type: m.kind(), Err: fmt.Errorf("listener %q is named twice", l.Name)}
		}
		b.names[l.Name] = struct{}{}
	}
	return b.acknowledge(m)
}

// acknowledge tells the truth about what was received even if it is wrong:
// the peer then knows which listener it is about.
func (b *batches) acknowledge(m Listeners) error {
	reply := Received{Batch: m.Batch, Count: len(m.Listeners), Cookies: make([]Cookie, 0, len(m.Listeners))}
	var wrong error
	for _, l := range m.Listeners {
		cookie, err := l.verify()
		if err == nil && b.inspect != nil {
			err = b.inspect(l)
		}
		if err != nil && wrong == nil {
			wrong = &MessageError{Type: m.kind(), Err: fmt.Errorf("listener %q: %w", l.Name, err)}
		}
		reply.Cookies = append(reply.Cookies, cookie)
	}
	return errors.Join(say(b.c, reply), wrong)
}
