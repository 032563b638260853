package fdpass

import (
	"os"

	"golang.org/x/sys/unix"
)

// rendezvousBacklog is enough for all generations to come at once.
const rendezvousBacklog = 64

// A socketFile tells a file from another that takes its place.
type socketFile struct{ dev, inode uint64 }

// listenSocket gives a listening socket. bind(2) makes the file with the mode of
// the socket less the umask (unix_bind_bsd in net/unix/af_unix.c), so that at no
// time anybody else may connect.
func listenSocket(path string) (int, socketFile, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, socketFile{}, os.NewSyscallError("socket", err)
	}
	file, err := bindSocket(fd, path)
	if err != nil {
		unix.Close(fd)
		return -1, socketFile{}, err
	}
	return fd, file, nil
}

func bindSocket(fd int, path string) (socketFile, error) {
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return socketFile{}, os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return socketFile{}, os.NewSyscallError("bind", err)
	}
	file, err := identify(path)
	if err != nil {
		return socketFile{}, err
	}
	return file, os.NewSyscallError("listen", unix.Listen(fd, rendezvousBacklog))
}

func identify(path string) (socketFile, error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return socketFile{}, os.NewSyscallError("lstat", err)
	}
	return socketFile{uint64(s.Dev), s.Ino}, nil
}

// pidfd gives a descriptor of the peer: SO_PEERPIDFD refers to the very process
// that connected (Linux 6.5; sk_getsockopt in net/core/sock.c). Before, the
// process may have ended and its number may be another's by now; the token is
// the proof then.
func (c *Conn) pidfd(pid int) int {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return -1
	}
	got := -1
	err = raw.Control(func(fd uintptr) {
		got, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if err == unix.ENOPROTOOPT {
			got, err = unix.PidfdOpen(pid, 0) // close-on-exec by itself
		}
		if err != nil {
			got = -1
		}
	})
	if err != nil {
		return -1
	}
	return got
}
