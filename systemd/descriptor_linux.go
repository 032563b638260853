package systemd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const streams = "use ListenStream=, ListenDatagram= or ListenSequentialPacket="

// judgeAll looks at the descriptors of socket units.
func judgeAll(units []Descriptor) error {
	var errs []error
	for _, d := range units {
		if err := judge(d.FD); err != nil {
			errs = append(errs, d.wrong(err))
		}
	}
	return errors.Join(errs...)
}

// judge refuses what no generation could serve.
func judge(fd int) error {
	if !isSocket(fd) {
		return fmt.Errorf("it is %s, not a socket: %s in its socket unit", fileKind(fd), streams)
	}
	domain, err := socketOption(fd, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	typ, err := socketOption(fd, unix.SO_TYPE)
	if err != nil {
		return err
	}
	if err := judgeFamily(fd, domain, typ); err != nil {
		return err
	}
	if typ == unix.SOCK_DGRAM {
		return nil
	}
	listening, err := socketOption(fd, unix.SO_ACCEPTCONN)
	if err != nil || listening != 0 {
		return err
	}
	if isConnected(fd) {
		return errors.New("it is a connection, not a listener: set Accept=no in the [Socket] section of its socket unit")
	}
	return errors.New("it does not listen: its socket unit did not make it, or another process has shut it down; restart that socket unit")
}

func judgeFamily(fd, domain, typ int) error {
	switch domain {
	case unix.AF_UNIX:
		return nil // streams, datagrams and SOCK_SEQPACKET are all there are
	case unix.AF_INET, unix.AF_INET6:
		return judgeProtocol(fd, typ)
	case unix.AF_NETLINK:
		return fmt.Errorf("it is a netlink socket: take ListenNetlink= out of its socket unit, %s", streams)
	case unix.AF_VSOCK:
		return errors.New("it is a vsock socket, which is not supported: give ListenStream= of its socket unit an internet address or a path")
	}
	return fmt.Errorf("it is a socket of family %d, which is not supported: give ListenStream= of its socket unit an internet address or a path", domain)
}

func judgeProtocol(fd, typ int) error {
	protocol, err := socketOption(fd, unix.SO_PROTOCOL)
	if err != nil {
		return err
	}
	switch {
	case typ == unix.SOCK_STREAM && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP):
		return nil
	case typ == unix.SOCK_DGRAM && protocol == unix.IPPROTO_UDP:
		return nil
	}
	return fmt.Errorf("internet protocol %d is not supported, only TCP and UDP are: take SocketProtocol= out of its socket unit", protocol)
}

func isSocket(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// fileKind names what is not a socket, and the line from which such a one comes.
func fileKind(fd int) string {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
		return fmt.Sprintf("unknown (%v)", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "a FIFO (ListenFIFO=)"
	case unix.S_IFCHR:
		return "a character device (ListenSpecial=, OpenFile=)"
	case unix.S_IFBLK:
		return "a block device (OpenFile=)"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFREG:
		if fs.Type == mqueueMagic {
			return "a message queue (ListenMessageQueue=)"
		}
		return "a file (ListenSpecial=, OpenFile=)"
	}
	return "a special file"
}

// mqueueMagic is MQUEUE_MAGIC of the kernel's ipc/mqueue.c, the type of the
// file system of message queues.
const mqueueMagic = 0x19800202

// isConnected reports whether a socket has a peer, as those of Accept=yes have.
func isConnected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}

// socketOption reads one integer of getsockopt(2) at level SOL_SOCKET.
func socketOption(fd, name int) (int, error) {
	value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
	return value, os.NewSyscallError("getsockopt", err)
}
