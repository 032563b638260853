package health

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The layouts are those of include/uapi/linux/unix_diag.h.
const (
	unixRequest = 24 // struct unix_diag_req
	unixMessage = 16 // struct unix_diag_msg

	unixAttrName     = 0
	unixAttrRqlen    = 4 // of a listener: depth and limit
	unixAttrShutdown = 6
	unixAttrUID      = 7

	unixShowName  = 0x01
	unixShowRqlen = 0x10
	unixShowUID   = 0x40
)

// A unixRow is what an answer tells of one Unix socket.
type unixRow struct {
	typ, state   uint8
	inode        uint32
	depth, limit uint32
	uid          uint32
	// name is a path, or begins with a zero byte (unix(7), abstract); "" if the
	// socket has none.
	name string
	// deaf: shutdown(2) was called for the reading side. The socket stays in
	// its state and refuses every client.
	deaf bool
}

// parseUnixRow reads a struct unix_diag_msg and its attributes.
func parseUnixRow(b []byte) (unixRow, error) {
	if len(b) < unixMessage {
		return unixRow{}, errShortRow
	}
	r := unixRow{typ: b[1], state: b[2], inode: binary.NativeEndian.Uint32(b[4:])}
	for kind, value := range attributes(b[unixMessage:]) {
		r.take(kind, value)
	}
	return r, nil
}

func (r *unixRow) take(kind uint16, value []byte) {
	switch {
	case kind == unixAttrName:
		r.name = unixName(value)
	case kind == unixAttrRqlen && len(value) >= 8:
		r.depth = binary.NativeEndian.Uint32(value)
		r.limit = binary.NativeEndian.Uint32(value[4:])
	case kind == unixAttrShutdown && len(value) >= 1:
		const rcvShutdown = 1 // RCV_SHUTDOWN, include/net/sock.h
		r.deaf = value[0]&rcvShutdown != 0
	case kind == unixAttrUID && len(value) >= 4:
		r.uid = binary.NativeEndian.Uint32(value)
	}
}

// unixName is the name without the zero byte that ends a path.
func unixName(value []byte) string {
	if len(value) > 0 && value[0] == 0 {
		return string(value)
	}
	path, _, _ := bytes.Cut(value, []byte{0})
	return string(path)
}

func (r *unixRow) sample() Sample {
	return Sample{Depth: r.depth, Limit: r.limit, Listening: r.state == tcpListen && !r.deaf}
}

// unixRequestFor asks for the Unix socket with an inode, or for all in one of
// states if inode is 0.
func unixRequestFor(inode, states, show uint32) netlink.Message {
	m := netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request}}
	if inode == 0 {
		m.Header.Flags |= netlink.Dump
	}
	m.Data = make([]byte, unixRequest)
	m.Data[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(m.Data[4:], states)
	binary.NativeEndian.PutUint32(m.Data[8:], inode)
	binary.NativeEndian.PutUint32(m.Data[12:], show)
	binary.NativeEndian.PutUint64(m.Data[16:], ^uint64(0)) // any cookie
	return m
}

// unixRows asks and gives each socket of the answer to row.
func (d *diag) unixRows(question netlink.Message, row func(*unixRow)) error {
	return d.ask(question, func(data []byte) error {
		r, err := parseUnixRow(data)
		if err == nil {
			row(&r)
		}
		return err
	})
}

// sampleUnix fills a Sample of a Unix listener. There is no getsockopt(2) that
// would tell.
func (d *diag) sampleUnix(sock *socket, into *Sample) error {
	found := false
	err := d.unixRows(unixRequestFor(sock.inode, ^uint32(0), unixShowRqlen), func(r *unixRow) {
		if r.inode == sock.inode {
			*into, found = r.sample(), true
		}
	})
	if errors.Is(err, unix.ENOENT) || err == nil && !found {
		return ErrUnseen
	}
	return err
}
