package fdpass

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// envScript makes this test binary a child that plays a script.
const envScript = "FDPASS_TEST_SCRIPT"

func TestMain(m *testing.M) {
	if script, ok := os.LookupEnv(envScript); ok {
		os.Exit(playScript(script))
	}
	if path, ok := os.LookupEnv(envRendezvous); ok {
		os.Exit(playRendezvous(path))
	}
	os.Exit(leaktest.Run(m, nil))
}

// conns is a channel with both ends in this process.
func conns(t testing.TB) (supervisor, child *Conn) {
	t.Helper()
	supervisor, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	child = adopt(t, f)
	t.Cleanup(func() { supervisor.Close(); child.Close() })
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range []*Conn{supervisor, child} {
		if err := errors.Join(c.SetReadDeadline(deadline), c.SetWriteDeadline(deadline)); err != nil {
			t.Fatal(err)
		}
	}
	return supervisor, child
}

// adopt makes a Conn of a duplicate of a file's descriptor.
func adopt(t testing.TB, f *os.File) *Conn {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(fd)
	if err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	return c
}

// listenTCP opens a listener as a raw descriptor.
func listenTCP(t testing.TB) int {
	t.Helper()
	fd := socket(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	return fd
}

// socket opens a non-blocking socket that the test closes at its end.
func socket(t testing.TB, domain, typ int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func listeners(t testing.TB, n int) []Listener {
	t.Helper()
	ls := make([]Listener, n)
	for i := range ls {
		l, err := Describe(fmt.Sprintf("listener-%d", i+1), listenTCP(t))
		if err != nil {
			t.Fatal(err)
		}
		ls[i] = l
	}
	return ls
}

func closeListeners(ls []Listener) {
	for _, l := range ls {
		unix.Close(l.FD)
	}
}

func welcome() Welcome { return Welcome{Service: "test", Generation: 1} }

// sendRaw sends one packet as it is. x/sys and net add a byte to an empty one
// that carries descriptors, which is why the system call is made here.
func (c *Conn) sendRaw(data []byte, fds ...int) error {
	var hdr unix.Msghdr
	var iov unix.Iovec
	var dummy byte
	iov.Base = &dummy
	if len(data) > 0 {
		iov.Base = &data[0]
	}
	iov.SetLen(len(data))
	hdr.Iov = &iov
	hdr.SetIovlen(1)
	if len(fds) > 0 {
		rights := unix.UnixRights(fds...)
		hdr.Control = &rights[0]
		hdr.SetControllen(len(rights))
	}
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Write(func(fd uintptr) bool {
		_, _, errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&hdr)), unix.MSG_NOSIGNAL)
		return errno != unix.EAGAIN
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// sendText sends a packet of text.
func (c *Conn) sendText(text string, fds ...int) error { return c.sendRaw([]byte(text), fds...) }

// untilEOF reads until the peer is gone and returns what it said.
func untilEOF(c *Conn) ([]Message, error) {
	var all []Message
	for {
		m, fds, err := c.Receive()
		closeFDs(fds)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, err
		}
		all = append(all, m)
	}
}

func wantText(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want one that says %q", err, text)
	}
}

// wantMessageError checks for an error that leaves the channel usable.
func wantMessageError(t *testing.T, err error, text string) {
	t.Helper()
	var bad *MessageError
	if !errors.As(err, &bad) {
		t.Fatalf("error is %v, want a *MessageError", err)
	}
	wantText(t, err, text)
}
