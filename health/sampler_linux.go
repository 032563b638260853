package health

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Sampler looks at the accept queues of listeners whose descriptors it
// borrows: they must stay open, and mean the same sockets, until Close. It is
// not for concurrent use.
type Sampler struct {
	sockets []socket
	errs    []error // of the latest Sample
	diag    *diag
	subflow map[uint32]uint32 // drop counters of the MPTCP listeners, by inode
	// resting are listeners of which a sample may be as old as restLooks, and
	// last are those samples. Nil: none rests.
	resting []bool
	last    []Sample
	round   int
	queues  queues
}

// NewSampler returns a Sampler of the listeners behind fds, which it borrows:
// TCP, MPTCP, and Unix sockets of type SOCK_STREAM and SOCK_SEQPACKET. Any
// other descriptor is an error. A listener on which somebody called shutdown(2)
// is none, and neither is one whose queue cannot be seen: Sample tells that.
//
// The Sampler sees into the network namespace of the calling thread. Where the
// process may have no netlink socket (AF_NETLINK, see socket(2)), TCP is sampled
// all the same, but no queue is looked into, MPTCP counts no drops, and Unix
// listeners are ErrUnseen.
func NewSampler(fds []int) (*Sampler, error) {
	s := &Sampler{errs: make([]error, len(fds)), subflow: map[uint32]uint32{}}
	for _, fd := range fds {
		sock, err := newSocket(fd)
		if err != nil {
			return nil, err
		}
		s.sockets = append(s.sockets, sock)
	}
	var err error
	if s.diag, err = anyDiag(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the Sampler's own netlink socket, and no listener.
func (s *Sampler) Close() error { return s.diag.Close() }

// Sample looks at every queue: into[i] gets that of listener i, and into must
// be as long as the descriptors were many. A TCP listener takes two system
// calls that do not block, and no memory. A Unix listener takes a question over
// netlink, and all MPTCP listeners together take one; these take memory.
//
// The error joins those of single listeners, see Err. The Sample of such a
// listener is zero and means nothing, least of all that it does not listen.
//
// Drops are as the kernel counts them, which is not only for want of room: a
// SYN that is sent again during its handshake moves the counter too, and so does
// a reset. The network namespace's ListenDrops tells, see Counters. The drops of
// an MPTCP listener of another network namespace cannot be seen: they stay 0.
func (s *Sampler) Sample(into []Sample) error {
	if len(into) != len(s.sockets) {
		return fmt.Errorf("cannot sample %d listeners into %d samples", len(s.sockets), len(into))
	}
	subflowErr := s.lookUpSubflows()
	failed := false
	for i := range s.sockets {
		if s.rests(i) {
			into[i] = s.last[i]
			continue
		}
		into[i] = Sample{}
		s.errs[i] = s.sample(&s.sockets[i], &into[i], subflowErr)
		if s.errs[i] != nil {
			into[i] = Sample{}
			failed = true
		}
	}
	s.round++
	copy(s.last, into)
	if !failed {
		return nil
	}
	return errors.Join(s.errs...)
}

// restLooks is how many looks one look at a resting listener serves.
const restLooks = 4

// rest makes the listeners rest for which may is true, from a look at each on.
// One that could not be looked at does not.
func (s *Sampler) rest(may []bool) {
	if s.resting == nil {
		s.resting, s.last = make([]bool, len(s.sockets)), make([]Sample, len(s.sockets))
		s.round = 0 // last has nothing yet
	}
	copy(s.resting, may)
}

func (s *Sampler) rests(i int) bool {
	return s.resting != nil && s.round > 0 && s.resting[i] && s.errs[i] == nil && (s.round+i)%restLooks != 0
}

// counts reports whether the kernel tells what it drops for listener i: it does
// not for Unix sockets, nor for MPTCP in another network namespace.
func (s *Sampler) counts(i int) bool {
	sock := &s.sockets[i]
	return sock.kind == tcpQueue || sock.kind == mptcpQueue && s.near(sock) && s.diag.refused == nil
}

// Err returns why the latest Sample could not look at listener i; nil if it
// could. ErrUnseen is for good, anything else may be over next time.
func (s *Sampler) Err(i int) error { return s.errs[i] }

func (s *Sampler) sample(sock *socket, into *Sample, subflowErr error) error {
	var err error
	switch sock.kind {
	case tcpQueue:
		err = sampleTCP(sock.fd, into)
	case mptcpQueue:
		if err = sampleTCP(sock.fd, into); err == nil {
			err, into.Drops = subflowErr, s.subflow[sock.inode]
		}
	case unixQueue:
		err = s.diag.sampleUnix(sock, into)
	}
	if err != nil {
		return fmt.Errorf("cannot look at the accept queue of descriptor %d: %w", sock.fd, err)
	}
	return nil
}

// lookUpSubflows asks for the drop counters of the MPTCP listeners, if there are
// any. The socket of an MPTCP listener counts none: the subflow does, which is
// of the same inode. One that does not listen any more keeps the last figure.
func (s *Sampler) lookUpSubflows() error {
	var ports []uint16
	for i := range s.sockets {
		if sock := &s.sockets[i]; sock.kind == mptcpQueue && s.near(sock) && s.diag.refused == nil {
			if port, err := sock.port(); err == nil { // or sample finds out why not
				ports = append(ports, port)
			}
		}
	}
	if len(ports) == 0 {
		return nil
	}
	question := inetDump(stateListen, wantSkmeminfo, portFilter(ports))
	return s.diag.rows(question, func(r *inetRow) {
		if slices.ContainsFunc(s.sockets, func(sock socket) bool { return sock.inode == r.inode }) {
			s.subflow[r.inode] = r.drops
		}
	})
}

// near reports whether a socket is in the Sampler's network namespace, as far
// as the kernel tells.
func (s *Sampler) near(sock *socket) bool { return sock.netns == s.diag.netns }

// seesInside reports whether the kernel tells what waits for listener i.
func (s *Sampler) seesInside(i int) bool {
	sock := &s.sockets[i]
	return sock.kind != unixQueue && s.near(sock) && s.diag.refused == nil
}

// Waiting looks into the queues of the listeners that are wanted: into[i] gets
// what waits for listener i if want[i], and is left alone if not. It is one
// question over netlink about all ports that are wanted. It takes the longer,
// the more connections these ports have, also those accepted long ago; cost is
// how long it took.
//
// It is not Known of Unix listeners, of those in another network namespace, and
// of those that do not listen. The members of an SO_REUSEPORT group share one
// result, because the kernel does not tell in whose queue a connection waits.
// Connections that their client has reset are not seen, although they take
// room until they are accepted: Count may be less than the depth. So it is with
// connections that were redirected to the listener from another address (TPROXY,
// sk_lookup), and those of TCP Fast Open whose handshake has not ended.
func (s *Sampler) Waiting(into []Waiting, want []bool) (cost time.Duration, err error) {
	if len(into) != len(s.sockets) || len(want) != len(s.sockets) {
		return 0, fmt.Errorf("cannot look into the queues of %d listeners for %d results, %d wanted",
			len(s.sockets), len(into), len(want))
	}
	begun := time.Now()
	err = s.lookInside(into, want)
	return time.Since(begun), err
}

func (s *Sampler) lookInside(into []Waiting, want []bool) error {
	var ports []uint16
	for i := range s.sockets {
		if !want[i] {
			continue
		}
		into[i] = Waiting{}
		if s.seesInside(i) {
			port, err := s.sockets[i].port()
			if err != nil {
				return err
			}
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		return nil
	}
	if err := s.queues.look(s.diag, ports); err != nil {
		return err
	}
	for i := range s.sockets {
		if want[i] && s.seesInside(i) {
			into[i] = s.queues.of(s.sockets[i].inode)
		}
	}
	return nil
}
