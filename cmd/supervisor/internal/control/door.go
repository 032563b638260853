package control

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// A door is a listener that can be shut for a while. Who comes then waits in
// the accept queue, and net/http does not notice.
type door struct {
	net.Listener // taken
	deadline     func(time.Time) error

	mu     sync.Mutex
	opens  chan struct{} // closed when the door is opened again; nil while it is open
	rests  chan struct{} // closed when Accept waits at the shut door
	closed chan struct{} // closed by Close
}

// newDoor takes l, whose Accept must heed a deadline.
func newDoor(l net.Listener) (*door, error) {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return nil, fmt.Errorf("a listener of type %T cannot be shut for a while", l)
	}
	return &door{Listener: l, deadline: d.SetDeadline, closed: make(chan struct{})}, nil
}

// Accept returns the next connection. It waits while the door is shut.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err == nil {
			return conn, nil
		}
		opens := d.rest()
		if opens == nil {
			return nil, err
		}
		select {
		case <-opens:
		case <-d.closed:
			return nil, net.ErrClosed
		}
	}
}

// rest tells that Accept waits, and returns what it waits for; nil if the door
// is open.
func (d *door) rest() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opens == nil {
		return nil
	}
	close(d.rests)
	return d.opens
}

// shut ends the Accept under way. The channel is closed when it waits: whoever
// was let in is then known to the caller of Accept.
func (d *door) shut() (rests <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opens, d.rests = make(chan struct{}), make(chan struct{})
	if err := d.deadline(time.Unix(1, 0)); err != nil {
		d.opens = nil
		return nil, fmt.Errorf("cannot stop accepting: %w", err)
	}
	return d.rests, nil
}

// open undoes shut.
func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opens == nil {
		return nil
	}
	if err := d.deadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot accept again: %w", err)
	}
	close(d.opens)
	d.opens = nil
	return nil
}

// Close closes the listener and ends Accept.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.closed:
		return net.ErrClosed
	default:
		close(d.closed)
		return d.Listener.Close()
	}
}
