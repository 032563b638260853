package health

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// sockDiagByFamily is the request of sock_diag(7). tcpdiagGetsock is its
	// elder, which ss(8) still makes use of, because it shows IPv4 and IPv6 in
	// one walk through the kernel's tables.
	sockDiagByFamily = 20
	tcpdiagGetsock   = 18

	// diagBuffer is as much as the kernel puts into one part of an answer. With
	// less room it takes twice as long.
	diagBuffer = 32 << 10
	// diagPatience bounds one question. The kernel answers as it is asked; this
	// is for the day when it does not.
	diagPatience = time.Second
)

// A diag asks the kernel about sockets (NETLINK_SOCK_DIAG, sock_diag(7)) of the
// network namespace in which it was made. It is not for concurrent use.
//
// It sends and receives by itself: netlink.Conn starts a goroutine for each
// system call and copies each part of an answer, which for a Unix listener's
// sample took ten times as long as the kernel needs.
type diag struct {
	conn     *netlink.Conn // nil after an answer went astray
	raw      syscall.RawConn
	netns    uint64 // cookie of its network namespace
	sequence uint32
	buffer   []byte
	// refused is why there can be no netlink socket; every question is answered
	// with it. It wraps ErrUnseen.
	refused error
}

// dialDiag returns a diag of the calling thread's network namespace.
func dialDiag() (*diag, error) {
	d := &diag{buffer: make([]byte, diagBuffer)}
	if err := d.dial(); err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket to ask about sockets: %w", err)
	}
	return d, nil
}

// anyDiag is dialDiag where netlink sockets may not be allowed, as systemd's
// RestrictAddressFamilies= does and some containers do: the diag then answers
// nothing.
func anyDiag() (*diag, error) {
	d, refused := dialDiag()
	if refused == nil {
		return d, nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(refused, os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	netns, err := netnsOf(fd)
	if err != nil {
		return nil, errors.Join(refused, err)
	}
	return &diag{netns: netns, refused: fmt.Errorf("%w: %w", ErrUnseen, refused)}, nil
}

func (d *diag) dial() error {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	var netns uint64
	var failed error
	if err == nil {
		err = raw.Control(func(fd uintptr) { netns, failed = netnsOf(int(fd)) })
	}
	if err := errors.Join(err, failed); err != nil {
		conn.Close()
		return err
	}
	if d.netns != 0 && d.netns != netns {
		conn.Close()
		return errors.New("the calling thread has changed its network namespace")
	}
	d.conn, d.raw = conn, raw
	if d.netns == 0 { // others may read it once it is known
		d.netns = netns
	}
	return nil
}

// ask sends one question and gives each message of the answer to row, which
// must not keep it. What was not there to be found is unix.ENOENT.
func (d *diag) ask(question netlink.Message, row func(data []byte) error) error {
	if d.refused != nil {
		return d.refused
	}
	err := d.exchange(question, row)
	var said kernelError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		err = said.errno
	case d.conn != nil: // what is still to come must not be taken for the next answer
		d.conn.Close()
		d.conn = nil
	}
	return fmt.Errorf("cannot ask the kernel about sockets: %w", err)
}

func (d *diag) exchange(question netlink.Message, row func(data []byte) error) error {
	if d.conn == nil {
		if err := d.dial(); err != nil {
			return err
		}
	}
	if err := d.conn.SetDeadline(time.Now().Add(diagPatience)); err != nil {
		return err
	}
	d.sequence++
	question.Header.Sequence = d.sequence
	question.Header.Length = uint32(messageHeader + len(question.Data))
	packet, err := question.MarshalBinary()
	if err != nil {
		return err
	}
	if err := d.send(packet); err != nil {
		return err
	}
	for {
		part, err := d.receive()
		if err != nil {
			return err
		}
		if done, err := readPart(part, d.sequence, row); done || err != nil {
			return err
		}
	}
}

func (d *diag) send(packet []byte) error {
	var err error
	closed := d.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), packet, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return err != unix.EAGAIN && err != unix.EINTR
	})
	return errors.Join(closed, os.NewSyscallError("sendto", err))
}

// receive returns the next part of an answer, until it is called again.
func (d *diag) receive() ([]byte, error) {
	for {
		var n int
		var from unix.Sockaddr
		var err error
		closed := d.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), d.buffer, unix.MSG_TRUNC)
			return err != unix.EAGAIN && err != unix.EINTR
		})
		if err := errors.Join(closed, os.NewSyscallError("recvfrom", err)); err != nil {
			return nil, err
		}
		if n > len(d.buffer) {
			return nil, fmt.Errorf("a part of the answer has %d bytes", n)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); ok && sender.Pid == 0 {
			return d.buffer[:n], nil
		} // else it is not from the kernel
	}
}

// Close closes the netlink socket.
func (d *diag) Close() error {
	if d.conn == nil {
		return nil
	}
	return d.conn.Close()
}
