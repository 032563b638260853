package health

import (
	"errors"
	"fmt"
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

	// diagBuffer is as much as the kernel puts into one part of an answer. To
	// ask for the size of each part first takes twice as long.
	diagBuffer = 32 << 10
	// diagPatience bounds one question. The kernel answers as it is asked; this
	// is for the day when it does not.
	diagPatience = time.Second
)

// A diag asks the kernel about sockets (NETLINK_SOCK_DIAG, sock_diag(7)) of the
// network namespace in which it was made. It is not for concurrent use.
type diag struct {
	conn  *netlink.Conn // nil after an answer went astray
	netns uint64        // cookie of its network namespace
}

// dialDiag returns a diag of the calling thread's network namespace.
func dialDiag() (*diag, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{MessageBufferSize: diagBuffer})
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket to ask about sockets: %w", err)
	}
	netns, err := netnsOfConn(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot tell the network namespace of a netlink socket: %w", err)
	}
	return &diag{conn: conn, netns: netns}, nil
}

func netnsOfConn(conn *netlink.Conn) (uint64, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var netns uint64
	var failed error
	err = raw.Control(func(fd uintptr) { netns, failed = netnsOf(int(fd)) })
	return netns, errors.Join(err, failed)
}

// ask sends one question and gives each message of the answer to row, which
// must not keep it. What was not there to be found is unix.ENOENT.
func (d *diag) ask(question netlink.Message, row func(data []byte) error) error {
	if err := d.renew(); err != nil {
		return err
	}
	inStep, err := exchange(d.conn, question, row)
	if err == nil {
		return nil
	}
	if !inStep { // what is still to come must not be taken for the next answer
		d.conn.Close()
		d.conn = nil
	}
	return fmt.Errorf("cannot ask the kernel about sockets: %w", err)
}

// exchange reports whether the next question on conn gets its own answer.
func exchange(conn *netlink.Conn, question netlink.Message, row func(data []byte) error) (inStep bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(diagPatience)); err != nil {
		return false, err
	}
	sent, err := conn.Send(question)
	if err != nil {
		return false, err
	}
	for m, err := range conn.ReceiveIter() {
		if err != nil {
			var said *netlink.OpError
			return errors.As(err, &said) && said.Sequence == sent.Header.Sequence, err
		}
		if m.Header.Sequence != sent.Header.Sequence {
			return false, errors.New("got the answer to another question")
		}
		if err := row(m.Data); err != nil {
			return false, err
		}
	}
	return true, nil
}

// renew replaces a socket that was given up.
func (d *diag) renew() error {
	if d.conn != nil {
		return nil
	}
	renewed, err := dialDiag()
	if err != nil {
		return err
	}
	if renewed.netns != d.netns {
		renewed.Close()
		return errors.New("cannot ask the kernel about sockets: the calling thread has changed its network namespace")
	}
	d.conn = renewed.conn
	return nil
}

// Close closes the netlink socket.
func (d *diag) Close() error {
	if d.conn == nil {
		return nil
	}
	return d.conn.Close()
}
