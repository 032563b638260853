package systemd

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sendDatagram sends one datagram to a Unix socket, with descriptors that it
// borrows, and waits up to a limit while the receiver's queue is full.
//
// The socket is made for this datagram. So nothing is held that would have to be
// made anew once the receiver is, or handed over by a supervisor that executes
// itself. And it is connected, because the kernel wakes only a connected sender
// when there is room again: go-systemd's journal.Send has an unconnected one, and
// keeps a processor busy for as long as the journal's queue is full.
func sendDatagram(address string, data []byte, limit time.Duration, fds ...int) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// Not conn.WriteMsgUnix, which refuses a socket that is connected.
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		_, sent = unix.SendmsgN(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", sent)
}

// isStuck reports whether a datagram was not taken because nobody reads.
func isStuck(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
