package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// messageHeader is the size of struct nlmsghdr (netlink(7)).
const messageHeader = 16

// A kernelError is the kernel's answer to a question that it understood.
type kernelError struct{ errno unix.Errno }

func (e kernelError) Error() string { return e.errno.Error() }

var errShortMessage = errors.New("a message of the kernel is cut short")

// readPart gives the messages of one part of an answer to row, and reports
// whether it was the last part.
func readPart(part []byte, sequence uint32, row func(data []byte) error) (done bool, err error) {
	for len(part) > 0 {
		var m netlink.Message
		if m, part, err = nextMessage(part); err != nil {
			return false, err
		}
		if m.Header.Sequence != sequence {
			return false, errors.New("got the answer to another question")
		}
		switch m.Header.Type {
		case netlink.Noop:
			continue
		case netlink.Error, netlink.Done:
			return true, saidBy(m)
		}
		if err := row(m.Data); err != nil {
			return false, err
		}
		if m.Header.Flags&netlink.Multi == 0 {
			return true, nil
		}
	}
	return false, nil
}

// nextMessage cuts off the first message. Its Data is a part of b.
func nextMessage(b []byte) (m netlink.Message, rest []byte, err error) {
	if len(b) < messageHeader {
		return m, nil, errShortMessage
	}
	length := binary.NativeEndian.Uint32(b)
	if length < messageHeader || uint64(length) > uint64(len(b)) {
		return m, nil, fmt.Errorf("%w: %d bytes of %d", errShortMessage, len(b), length)
	}
	m.Header = netlink.Header{
		Length:   length,
		Type:     netlink.HeaderType(binary.NativeEndian.Uint16(b[4:])),
		Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:])),
		Sequence: binary.NativeEndian.Uint32(b[8:]),
		PID:      binary.NativeEndian.Uint32(b[12:]),
	}
	m.Data = b[messageHeader:length]
	return m, b[aligned(int(length), len(b)):], nil
}

// saidBy is the error in a message that ends an answer, nil if there is none.
func saidBy(m netlink.Message) error {
	if len(m.Data) < 4 {
		if m.Header.Type == netlink.Done {
			return nil
		}
		return errShortMessage
	}
	if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
		return kernelError{unix.Errno(-errno)}
	}
	return nil
}

// attributes are the netlink attributes in b, kind and value (struct nlattr).
// They end where b ends or makes no sense any more.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) {
				return
			}
			const flags = 0xc000 // NLA_F_NESTED, NLA_F_NET_BYTEORDER
			if !yield(binary.NativeEndian.Uint16(b[2:])&^flags, b[4:size]) {
				return
			}
			b = b[aligned(size, len(b)):]
		}
	}
}

// aligned is where the next message or attribute begins.
func aligned(size, most int) int { return min((size+3)&^3, most) }
