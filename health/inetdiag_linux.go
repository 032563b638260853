package health

import (
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The layouts are those of include/uapi/linux/inet_diag.h.
const (
	sockidSize  = 48                  // struct inet_diag_sockid
	inetRequest = 4 + sockidSize + 8  // struct inet_diag_req
	inetMessage = 4 + sockidSize + 20 // struct inet_diag_msg

	reqBytecode = 1 // INET_DIAG_REQ_BYTECODE

	attrInfo      = 2  // INET_DIAG_INFO: struct tcp_info
	attrSkmeminfo = 7  // INET_DIAG_SKMEMINFO: the array of SO_MEMINFO
	attrSkv6only  = 11 // INET_DIAG_SKV6ONLY: one byte

	wantInfo      = 1 << (attrInfo - 1)
	wantSkmeminfo = 1 << (attrSkmeminfo - 1)

	// States as in include/net/tcp_states.h. A connection waits to be accepted
	// in one of the last two.
	stateListen      = 1 << tcpListen
	stateEstablished = 1 << 1
	stateCloseWait   = 1 << 8
)

// A place is where a TCP socket is bound. The address of IPv4 is in the first
// four bytes. A connection has the family of the listener that got it: on a
// dual-stack listener one of IPv4 is of AF_INET6, with a mapped address.
type place struct {
	family uint8
	port   uint16
	addr   [16]byte
	device uint32
}

// covering are the places of the listeners that may have got a connection to p,
// in the order in which the kernel looks for one (__inet_lookup_listener).
func (p place) covering() [4]place {
	anyDevice, anyAddr, any := p, p, p
	anyDevice.device = 0
	anyAddr.addr = [16]byte{}
	any.addr, any.device = [16]byte{}, 0
	return [4]place{p, anyDevice, anyAddr, any}
}

// An inetRow is what an answer tells of one TCP socket.
type inetRow struct {
	place
	id             connectionID
	state          uint8
	rqueue, wqueue uint32 // of a listener: depth and limit
	uid, inode     uint32 // the inode is 0 while nobody has accepted it
	// lastDataSent is in milliseconds; only if hasInfo.
	lastDataSent uint32
	hasInfo      bool
	drops        uint32
	v6only       bool
}

var errShortRow = errors.New("a message about a socket is too short")

// parse reads a struct inet_diag_msg and its attributes.
func (r *inetRow) parse(b []byte) error {
	if len(b) < inetMessage {
		return errShortRow
	}
	*r = inetRow{
		place: place{
			family: b[0],
			port:   binary.BigEndian.Uint16(b[4:]),
			addr:   [16]byte(b[8:24]),
			device: binary.NativeEndian.Uint32(b[40:]),
		},
		id:     connectionID{b[0], [sockidSize]byte(b[4:])},
		state:  b[1],
		rqueue: binary.NativeEndian.Uint32(b[56:]),
		wqueue: binary.NativeEndian.Uint32(b[60:]),
		uid:    binary.NativeEndian.Uint32(b[64:]),
		inode:  binary.NativeEndian.Uint32(b[68:]),
	}
	if r.family == unix.AF_INET { // the kernel promises nothing of the rest
		clear(r.addr[4:])
	}
	for kind, value := range attributes(b[inetMessage:]) {
		r.take(kind, value)
	}
	return nil
}

func (r *inetRow) take(kind uint16, value []byte) {
	switch {
	case kind == attrInfo && len(value) >= tcpiLastDataSent+4:
		r.lastDataSent = binary.NativeEndian.Uint32(value[tcpiLastDataSent:])
		r.hasInfo = true
	case kind == attrSkmeminfo && len(value) >= memInfoSize:
		r.drops = binary.NativeEndian.Uint32(value[skMeminfoDrops:])
	case kind == attrSkv6only && len(value) >= 1:
		r.v6only = value[0] != 0
	}
}

// inetDump asks for all TCP sockets, IPv4 and IPv6, that are in one of states
// and that filter, see portFilter, lets through.
func inetDump(states uint32, want uint8, filter []byte) netlink.Message {
	data := make([]byte, inetRequest, inetRequest+4+len(filter))
	data[3] = want
	binary.NativeEndian.PutUint32(data[4+sockidSize:], states)
	if len(filter) > 0 {
		data = binary.NativeEndian.AppendUint16(data, uint16(4+len(filter)))
		data = binary.NativeEndian.AppendUint16(data, reqBytecode)
		data = append(data, filter...)
	}
	return netlink.Message{Header: netlink.Header{Type: tcpdiagGetsock, Flags: netlink.Request | netlink.Dump}, Data: data}
}

// isAccepted reports whether b is about a connection that nobody waits for any
// more. These are most of a long answer, and nothing else of them matters.
func isAccepted(b []byte) bool {
	return len(b) >= inetMessage && b[1] != tcpListen && binary.NativeEndian.Uint32(b[68:]) != 0
}

// rows asks, and gives each listener and each connection that waits to row,
// which must not keep it.
func (d *diag) rows(question netlink.Message, row func(*inetRow)) error {
	var r inetRow
	return d.ask(question, func(data []byte) error {
		if isAccepted(data) {
			return nil
		}
		if err := r.parse(data); err != nil {
			return err
		}
		row(&r)
		return nil
	})
}
