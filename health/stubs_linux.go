package health

import (
	"errors"
	"time"
)

// A Sampler looks at the accept queues of listeners whose descriptors it
// borrows. It is not for concurrent use.
type Sampler struct{}

// NewSampler returns a Sampler of the listeners behind fds, which it borrows.
func NewSampler(fds []int) (*Sampler, error) { return nil, errors.ErrUnsupported }

// Sample looks at every queue: into[i] is that of fds[i].
func (s *Sampler) Sample(into []Sample) error { return errors.ErrUnsupported }

// Err returns why the latest Sample could not look at listener i, or nil.
func (s *Sampler) Err(i int) error { return errors.ErrUnsupported }

// Waiting looks into the queues of the listeners that are wanted.
func (s *Sampler) Waiting(into []Waiting, want []bool) (cost time.Duration, err error) {
	return 0, errors.ErrUnsupported
}

// Close closes the Sampler's own netlink socket, and no listener.
func (s *Sampler) Close() error { return nil }

// A Netstat reads the counters of a network namespace.
type Netstat struct{}

// OpenNetstat returns a Netstat of the calling thread's network namespace.
func OpenNetstat() (*Netstat, error) { return nil, errors.ErrUnsupported }

// Read returns the counters as they are now.
func (n *Netstat) Read() (Counters, error) { return Counters{}, errors.ErrUnsupported }

// Close closes the Netstat's descriptors.
func (n *Netstat) Close() error { return nil }

// A Condition is the state of a listener that all who hold it share.
type Condition struct {
	// Listening is false after somebody called shutdown(2).
	Listening bool
	// Blocking: somebody cleared O_NONBLOCK.
	Blocking bool
	// Limit is what listen(2) got.
	Limit uint32
	// DeferAccept is TCP_DEFER_ACCEPT; 0 is off.
	DeferAccept time.Duration
	// ReusePort is SO_REUSEPORT.
	ReusePort bool
}

// Inspect returns the condition of the listener fd, which it borrows.
func Inspect(fd int) (Condition, error) { return Condition{}, errors.ErrUnsupported }

// Somaxconn returns net.core.somaxconn of this process's network namespace.
func Somaxconn() (int, error) { return 0, errors.ErrUnsupported }

// A NamespaceListener is a listener of the network namespace, whoever has it.
type NamespaceListener struct {
	// Network is tcp, unix or unixpacket, Address as package net writes it.
	Network, Address string
	Sample
	// Inode is the socket's number in /proc/PID/fd, UID its owner.
	Inode, UID uint32
	// V6Only: an IPv6 listener that takes no IPv4.
	V6Only bool
	// Group is the number of listeners that share the address (SO_REUSEPORT).
	Group int
	// Waiting is that of the whole group.
	Waiting Waiting
}

// NamespaceListeners returns every listener of the network namespace.
func NamespaceListeners() ([]NamespaceListener, error) { return nil, errors.ErrUnsupported }
