package fdpass

import (
	"errors"
	"fmt"
)

var (
	// ErrNoSupervisor: the environment names no channel, so this process was
	// not started by a supervisor.
	ErrNoSupervisor = errors.New("no supervisor: " + EnvFD + " is not set")
	// ErrProtocol: the two sides speak different versions of the protocol.
	ErrProtocol = errors.New("protocol version mismatch")
	// ErrCookie: a descriptor is not the socket that it is said to be.
	ErrCookie = errors.New("socket cookie mismatch")
	// ErrCount: the number of listeners is not the one announced.
	ErrCount = errors.New("listener count mismatch")
	// ErrUnknownType: the message's type is not one of this protocol version.
	// The peer may be newer; the message is answered with an Error.
	ErrUnknownType = errors.New("the type is not known")
	// ErrDescriptorsLost: the kernel dropped descriptors of a packet because
	// the receiver had no room for them; they cannot be had back.
	ErrDescriptorsLost = errors.New("descriptors were lost")
)

// A MessageError says that a received packet was malformed, unknown,
// truncated or out of place. Its descriptors are closed already and the
// channel is still usable.
type MessageError struct {
	// Type is the packet's "type", or empty if it could not be told.
	Type string
	// Err says what is wrong with it.
	Err error
}

func (e *MessageError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("bad message: %v", e.Err)
	}
	return fmt.Sprintf("bad %q message: %v", e.Type, e.Err)
}

func (e *MessageError) Unwrap() error { return e.Err }

// A PeerError is what the peer said in a [Failed] or an [Error] message.
type PeerError struct {
	// Type is "failed" or "error".
	Type string
	// Reason is the peer's, in words, without control characters.
	Reason string
	// Dismissed: a supervisor will never take this child back.
	Dismissed bool
}

func (e *PeerError) Error() string {
	said := "the peer reported an error"
	if e.Type == (Failed{}).kind() {
		said = "the child failed"
	}
	if e.Reason == "" {
		return said + " without a reason"
	}
	return said + ": " + e.Reason
}

// A Dismissal is why a supervisor refuses a child for good. As the error of
// admit, [TakeBack] has the child drain and end, if it understands that much.
type Dismissal struct{ Reason string }

func (e *Dismissal) Error() string { return e.Reason }

// isViolation tells a peer that broke the protocol, which is told so, from a
// channel that broke or a peer that gave up by itself.
func isViolation(err error) bool {
	var bad *MessageError
	return errors.As(err, &bad) || errors.Is(err, ErrProtocol) ||
		errors.Is(err, ErrCookie) || errors.Is(err, ErrCount)
}
