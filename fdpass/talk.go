package fdpass

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

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
		return &PeerError{Type: m.kind(), Reason: m.Reason, Dismissed: m.Dismissed}
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
