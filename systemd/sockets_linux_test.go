package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions of this file open what systemd might pass. All are blocking, as
// systemd makes the sockets of socket units, and closed when the test ends.

// A kind is one sort of descriptor.
type kind func(t *testing.T) int

// openAll opens one of each kind.
func openAll(t *testing.T, kinds []kind) []int {
	t.Helper()
	var fds []int
	for _, open := range kinds {
		fds = append(fds, open(t))
	}
	return fds
}

// newSocket skips the test where the kernel has no such sockets.
func newSocket(t *testing.T, domain, typ, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Skipf("this kernel has no sockets of family %d, type %d and protocol %d: %v", domain, typ, protocol, err)
	}
	return closed(t, fd)
}

func closed(t *testing.T, fd int) int {
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bound(t *testing.T, typ int) int {
	t.Helper()
	fd := newSocket(t, unix.AF_INET, typ, 0)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return fd
}

func tcp(t *testing.T) int {
	fd := bound(t, unix.SOCK_STREAM)
	must(t, unix.Listen(fd, 16))
	return fd
}

func silent(t *testing.T) int { return bound(t, unix.SOCK_STREAM) }
func udp(t *testing.T) int    { return bound(t, unix.SOCK_DGRAM) }

func tcp6(t *testing.T) int {
	fd := newSocket(t, unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}); err != nil {
		t.Skipf("this machine has no ::1: %v", err)
	}
	must(t, unix.Listen(fd, 16))
	return fd
}

func mptcp(t *testing.T) int {
	fd := newSocket(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 16))
	return fd
}

func unixSocket(t *testing.T, typ int) int {
	fd := newSocket(t, unix.AF_UNIX, typ, 0)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}))
	if typ != unix.SOCK_DGRAM {
		must(t, unix.Listen(fd, 16))
	}
	return fd
}

func stream(t *testing.T) int    { return unixSocket(t, unix.SOCK_STREAM) }
func seqpacket(t *testing.T) int { return unixSocket(t, unix.SOCK_SEQPACKET) }
func datagram(t *testing.T) int  { return unixSocket(t, unix.SOCK_DGRAM) }

func accepted(t *testing.T) int {
	listener := tcp(t)
	address, err := unix.Getsockname(listener)
	must(t, err)
	client := newSocket(t, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.Connect(client, address))
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	must(t, err)
	return closed(t, fd)
}

func acceptedUnix(t *testing.T) int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	closed(t, pair[0])
	return closed(t, pair[1])
}

func fifo(t *testing.T) int {
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	return open(t, path)
}

func open(t *testing.T, path string) int {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	return closed(t, fd)
}

func device(t *testing.T) int { return open(t, "/dev/null") }

func directory(t *testing.T) int {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	return closed(t, fd)
}

func file(t *testing.T) int {
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	must(t, err)
	return closed(t, fd)
}

// queue is a POSIX message queue (mq_overview(7)), whose name is gone at once.
func queue(t *testing.T) int {
	name, err := unix.BytePtrFromString(fmt.Sprintf("systemd-test-%d", os.Getpid()))
	must(t, err)
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600, 0, 0, 0)
	if errno != 0 {
		t.Skipf("this kernel has no message queues: %v", errno)
	}
	closed(t, int(fd))
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
		t.Error(errno)
	}
	return int(fd)
}

func special(t *testing.T) int {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	return closed(t, fd)
}

func netlink(t *testing.T) int {
	return newSocket(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
}

func vsock(t *testing.T) int { return newSocket(t, unix.AF_VSOCK, unix.SOCK_STREAM, 0) }

// The last two are for CAP_NET_RAW alone.
func icmp(t *testing.T) int { return newSocket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }
func link(t *testing.T) int { return newSocket(t, unix.AF_PACKET, unix.SOCK_DGRAM, 0) }
