package health

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// connectionID is by what the kernel finds one TCP connection: its family, and
// its struct inet_diag_sockid with addresses, ports and cookie.
type connectionID struct {
	family uint8
	sockid [sockidSize]byte
}

// one asks for one connection (struct inet_diag_req_v2).
func (id connectionID) one() netlink.Message {
	data := make([]byte, 8+sockidSize)
	data[0], data[1], data[2] = id.family, unix.IPPROTO_TCP, wantInfo
	binary.NativeEndian.PutUint32(data[4:], stateEstablished|stateCloseWait)
	copy(data[8:], id.sockid[:])
	return netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request}, Data: data}
}

// age tells how old a connection is that waits to be accepted; waits is false
// if it does not, or is no more. Other than a dump, a question about one
// connection is answered whatever its state: one that was accepted and is being
// closed by its service belongs to nobody either (its inode is 0 again), but is
// in none of the states in which connections wait.
func (d *diag) age(id connectionID) (age time.Duration, waits bool, err error) {
	err = d.rows(id.one(), func(r *inetRow) {
		if r.hasInfo && r.inode == 0 && 1<<r.state&(stateEstablished|stateCloseWait) != 0 {
			age, waits = time.Duration(r.lastDataSent)*time.Millisecond, true
		}
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) { // the latter of another one at its address
		return 0, false, nil
	}
	return age, waits, err
}

// head follows a line: it returns what is left of it, and the age of its head
// if there is one.
func (s *Sampler) head(l line) (rest line, age time.Duration, ok bool, err error) {
	rest, age, ok = l.advance(func(id connectionID) (time.Duration, bool) {
		age, waits, failed := s.diag.age(id)
		err = errors.Join(err, failed)
		return age, waits && failed == nil
	})
	return rest, age, ok && err == nil, err
}

// line is what waited for listener i when Waiting looked last.
func (s *Sampler) line(i int) line { return s.queues.lineOf(s.sockets[i].inode) }
