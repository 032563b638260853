package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// censusTime bounds one look of a Census. What takes longer is not known.
	censusTime = 2 * time.Second
	// censusDescriptors bounds how many descriptors of processes are looked at.
	censusDescriptors = 200_000
	// censusConnections bounds how many connections the kernel may tell of.
	censusConnections = 200_000
	// censusMemory is for how long a Census believes that a connection is whose it
	// was: one may be handed to another process.
	censusMemory = 10 * time.Second
)

// errCensusLimit is why a look is given up.
var errCensusLimit = errors.New("that takes too long to count")

// Connections are those of a listener that some processes have open. Open means
// nothing unless Known.
type Connections struct {
	Open  int
	Known bool
}

// A Census counts, from outside, the open connections of a group of processes at
// listeners whose descriptors it borrows: those that they have accepted, or have
// from who did. It asks the kernel which connections there are at these addresses
// (sock_diag(7)), and finds among the descriptors of the processes which are theirs
// (proc_pid_fd(5)). It needs no privilege beyond that to look at the processes, and
// is not for concurrent use.
//
// What a process does once it has closed its end does not count, nor does a
// connection that waits to be accepted. A connection whose client has gone counts
// until the process closes it, except over TCP after a reset, of which the kernel
// knows nothing more. Datagram sockets have none. Of several listeners at the very
// same address (SO_REUSEPORT) the first gets the connections of all.
type Census struct {
	listeners []counted
	listener  map[uint32]int // by the inode, those that can be counted
	processes func(context.Context) ([]int, error)
	diag      *diag

	at    map[place]int     // of the TCP listeners
	names map[unixPlace]int // of the Unix listeners
	// found are the connections of this look: the listener by the inode.
	found map[uint32]int
	// whose is what is known of them: by inode how many looks did not find it with
	// the processes, or ours.
	whose map[uint32]int
	since time.Time // when whose was begun
	fds   fdReader
}

// ours marks a connection that one of the processes has.
const ours = -1

// strange is how many looks must have missed a connection before it is somebody
// else's for good: while accept(2) returns it is in nobody's table yet.
const strange = 2

// counted is one listener of a Census.
type counted struct {
	socket
	datagram bool  // it has no connections
	err      error // why its connections cannot be counted
	seen     bool  // in this look
}

// NewCensus returns a Census at the listeners with these descriptors, of the
// processes that are listed before each look in which that matters. It opens a
// netlink socket in the calling thread's network namespace; what belongs to another
// namespace is not known.
func NewCensus(fds []int, processes func(context.Context) ([]int, error)) (*Census, error) {
	d, err := dialDiag()
	if err != nil {
		return nil, err
	}
	c := &Census{
		listeners: make([]counted, len(fds)), listener: map[uint32]int{}, processes: processes, diag: d,
		at: map[place]int{}, names: map[unixPlace]int{}, found: map[uint32]int{}, whose: map[uint32]int{},
	}
	for i, fd := range fds {
		c.listeners[i] = newCounted(fd, d)
		if l := &c.listeners[i]; !l.datagram && l.err == nil {
			c.listener[l.inode] = i
		}
	}
	return c, nil
}

func newCounted(fd int, d *diag) counted {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && typ == unix.SOCK_DGRAM {
		return counted{datagram: true}
	}
	s, err := newSocket(fd)
	if err == nil && s.netns != d.netns {
		err = errors.New("it belongs to another network namespace")
	}
	return counted{socket: s, err: err}
}

// Close closes the netlink socket.
func (c *Census) Close() error { return c.diag.Close() }

// Look counts: into[i] gets what is known of listener i. cost is how long it took;
// the caller decides by that when to look again. The error is why something is not
// known. A look ends with ctx, and takes little more than two seconds at most.
func (c *Census) Look(ctx context.Context, into []Connections) (cost time.Duration, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, censusTime, errCensusLimit)
	defer cancel()
	clear(into)
	if err = c.look(ctx); err == nil {
		err = c.tell(into)
	}
	return time.Since(begun), err
}

func (c *Census) look(ctx context.Context) error {
	if time.Since(c.since) > censusMemory {
		clear(c.whose)
		c.since = time.Now()
	}
	clear(c.found)
	if err := errors.Join(c.findTCP(ctx), c.findUnix(ctx)); err != nil {
		return err
	}
	if !c.recall() {
		return c.attribute(ctx)
	}
	return nil
}

// recall forgets the connections that are gone, and reports whether of all others
// it is known whose they are.
func (c *Census) recall() (all bool) {
	all = true
	for inode := range c.whose {
		if _, there := c.found[inode]; !there {
			delete(c.whose, inode)
		}
	}
	for inode := range c.found {
		all = all && (c.whose[inode] == ours || c.whose[inode] >= strange)
	}
	return all
}

// attribute looks which of the connections the processes have.
func (c *Census) attribute(ctx context.Context) error {
	pids, err := c.processes(ctx)
	if err != nil {
		return err
	}
	theirs := map[uint32]bool{}
	c.fds.left = censusDescriptors
	for _, pid := range pids {
		err := c.fds.sockets(ctx, pid, func(inode uint32) { theirs[inode] = true })
		if err != nil {
			return fmt.Errorf("cannot tell what process %d has open: %w", pid, err)
		}
	}
	for inode := range c.found {
		switch {
		case theirs[inode]:
			c.whose[inode] = ours
		case c.whose[inode] != ours:
			c.whose[inode]++
		}
	}
	return nil
}

// tell adds up what was found.
func (c *Census) tell(into []Connections) error {
	var errs []error
	for i := range c.listeners {
		l := &c.listeners[i]
		into[i].Known = l.datagram || l.err == nil && l.seen
		switch {
		case l.err != nil:
			errs = append(errs, fmt.Errorf("cannot count the connections of descriptor %d: %w", l.fd, l.err))
		case !into[i].Known:
			errs = append(errs, fmt.Errorf("cannot count the connections of descriptor %d: it does not listen", l.fd))
		}
	}
	for inode, i := range c.found {
		if c.whose[inode] == ours {
			into[i].Open++
		}
	}
	return errors.Join(errs...)
}
