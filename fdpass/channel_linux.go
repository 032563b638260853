package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// kernelBatch is SCM_MAX_FD, the number of descriptors that the kernel lets
// into one packet (unix(7)).
const kernelBatch = 253

// controlSize holds all that a packet may carry, so that MSG_CTRUNC can only
// mean that this process has no room for more descriptors.
func controlSize() int {
	return unix.CmsgSpace(kernelBatch*4) + unix.CmsgSpace(unix.SizeofUcred)
}

func socketpair() (ours, theirs int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	return pair[0], pair[1], os.NewSyscallError("socketpair", err)
}

// checkChannel reports why fd cannot be a channel.
func checkChannel(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if domain != unix.AF_UNIX || typ != unix.SOCK_SEQPACKET {
		return errors.New("it is not a Unix socket of type SOCK_SEQPACKET")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return fmt.Errorf("it is not connected: %w", os.NewSyscallError("getpeername", err))
	}
	return nil
}

// openSocket takes fd if it succeeds.
func openSocket(fd int) (*net.UnixConn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "channel")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	sock, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("it is a %T", conn)
	}
	unix.Close(fd)
	return sock, nil
}

func (c *Conn) writePacket(data []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.sock.WriteMsgUnix(data, rights, nil)
	switch {
	case errors.Is(err, unix.ECONNRESET):
		// The first call after a peer went away with unread messages.
		return fmt.Errorf("the peer is gone: %w", unix.EPIPE)
	case errors.Is(err, unix.ETOOMANYREFS):
		return fmt.Errorf("this user has too many descriptors in flight (RLIMIT_NOFILE); raise it, in systemd with LimitNOFILE=: %w", err)
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("the packet of %d bytes does not fit the socket's buffer; raise net.core.wmem_default: %w", len(data), err)
	}
	return err
}

// readPacket reads one packet. The packet's descriptors are set even if there
// is an error: an empty packet looks like the end to the net package and can
// carry some.
func (c *Conn) readPacket() (packet, error) {
	n, oobn, flags, _, err := c.sock.ReadMsgUnix(c.packet, c.control)
	if errors.Is(err, unix.ECONNRESET) {
		// The peer went away with messages of ours unread. The kernel reports
		// that once, ahead of what the peer had sent (unix_release_sock in
		// net/unix/af_unix.c); its last words are still there to be read.
		n, oobn, flags, _, err = c.sock.ReadMsgUnix(c.packet, c.control)
	}
	p := packet{
		data: c.packet[:max(n, 0)], // -1 with an error
		cut:  flags&unix.MSG_TRUNC != 0,
		lost: flags&unix.MSG_CTRUNC != 0,
	}
	var bad error
	p.fds, bad = parseRights(c.control[:max(oobn, 0)])
	switch {
	case errors.Is(err, io.EOF):
		return p, c.endOrEmpty(p)
	case err != nil:
		return p, fmt.Errorf("cannot receive: %w", err)
	case bad != nil:
		return p, &MessageError{Err: fmt.Errorf("the control data is malformed: %w", bad)}
	}
	return p, nil
}

// parseRights gives the descriptors of every control message.
func parseRights(control []byte) ([]int, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var fds []int
	var bad error
	for i := range messages {
		h := &messages[i].Header
		if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_RIGHTS {
			continue
		}
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			bad = err
		}
		fds = append(fds, more...)
	}
	return fds, bad
}

// endOrEmpty tells the end of the channel from an empty packet: both read as no
// bytes. At the end the peer's side is shut, and nothing is left to read.
func (c *Conn) endOrEmpty(p packet) error {
	empty := &MessageError{Err: errors.New("the packet is empty")}
	if len(p.fds) > 0 || p.lost {
		return empty
	}
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return io.EOF
	}
	shut, left := c.hungUp(), 0
	raw.Control(func(fd uintptr) {
		left, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	})
	if shut && left == 0 {
		return io.EOF
	}
	return empty
}

// hungUp asks poll(2), and reads nothing.
func (c *Conn) hungUp() bool {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return true
	}
	shut := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0) // interrupted, it has found nothing
		shut = err == nil && n > 0
	})
	return shut || err != nil
}

func (c *Conn) credentials() (pid, uid int, err error) {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, os.NewSyscallError("getsockopt", failed)); err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}

func (c *Conn) duplicate() (int, error) {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return -1, err
	}
	own := -1
	var failed error
	err = raw.Control(func(fd uintptr) {
		own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
	})
	return own, errors.Join(err, os.NewSyscallError("fcntl", failed))
}

// descriptorsLost says what to do about it: the number of descriptors is the
// one thing that makes the kernel drop some (unix(7), MSG_CTRUNC).
func descriptorsLost(arrived int) error {
	limit := "unknown"
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil {
		limit = fmt.Sprint(r.Cur)
	}
	return fmt.Errorf("%w: only %d arrived, because process %d is at its limit of open descriptors "+
		"(RLIMIT_NOFILE is %s); raise it, in systemd with LimitNOFILE=", ErrDescriptorsLost, arrived, os.Getpid(), limit)
}

// closeFDs takes the descriptors.
func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
