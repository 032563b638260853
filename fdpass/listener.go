package fdpass

import (
	"fmt"
	"strings"
)

// Describe fills a Listener from a socket: its network and address by
// getsockopt(2) and getsockname(2), its identity by SO_COOKIE (socket(7)). It
// borrows fd, which the Listener then names. Stream sockets must be listening,
// datagram sockets bound. An IPv4 socket is tcp4 or udp4, an IPv6 socket tcp6
// or udp6 if it is IPV6_V6ONLY and else tcp or udp. The address of an abstract
// Unix socket starts with @; bytes in it that are not UTF-8 are replaced.
func Describe(name string, fd int) (Listener, error) {
	l, err := describe(Listener{Name: name, FD: fd})
	if err == nil {
		err = l.validate()
	}
	if err != nil {
		return Listener{}, fmt.Errorf("cannot use descriptor %d as listener %q: %w", fd, name, err)
	}
	return l, nil
}

// Verify reports whether the descriptor still is the socket that the Listener
// describes ([ErrCookie]) and, for streams, still listens: a shutdown(2) by any
// process that holds the socket ends that for all of them.
func (l Listener) Verify() error {
	if _, err := l.verify(); err != nil {
		return fmt.Errorf("cannot use listener %q (descriptor %d): %w", l.Name, l.FD, err)
	}
	return nil
}

// Restore undoes what a former holder may have left on the socket, which is the
// same one for all who hold it: the filter that drops new attempts to connect,
// attached by a generation in its final drain (SO_ATTACH_FILTER, socket(7)), if
// it was killed before it could detach it; and a cleared O_NONBLOCK (open(2)).
// It borrows the descriptor. It is for whoever takes listeners over: from the
// service manager's descriptor store, and after the death of a generation that
// others outlive. TakeBack does it itself.
func (l Listener) Restore() error {
	if err := l.restore(); err != nil {
		return fmt.Errorf("cannot restore listener %q (descriptor %d): %w", l.Name, l.FD, err)
	}
	return nil
}

// isStream reports whether connections are accepted from the listener.
func (l Listener) isStream() bool {
	return strings.HasPrefix(l.Network, "tcp") || l.Network == "unix" || l.Network == "unixpacket"
}
