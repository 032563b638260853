package fdpass

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

func TestNewConnRefusesWhatIsNoChannel(t *testing.T) {
	leaktest.Check(t)
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFDs(stream[:])
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name string
		fd   int
		text string
	}{
		{"stream", stream[0], "not a Unix socket of type SOCK_SEQPACKET"},
		{"TCP", listenTCP(t), "not a Unix socket of type SOCK_SEQPACKET"},
		{"file", int(file.Fd()), "socket operation on non-socket"},
		{"unconnected", socket(t, unix.AF_UNIX, unix.SOCK_SEQPACKET), "it is not connected"},
		{"closed", 9999, "bad file descriptor"},
	} {
		if _, err := NewConn(c.fd); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, fd := range []int{stream[0], int(file.Fd())} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			t.Errorf("descriptor %d was closed: %v", fd, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	leaktest.Check(t)
	os.Unsetenv(EnvFD)
	if _, err := FromEnv(); !errors.Is(err, ErrNoSupervisor) {
		t.Errorf("without the variable: %v", err)
	}
	for value, text := range map[string]string{
		"":       "is not the number of a descriptor",
		"three":  "is not the number of a descriptor",
		"1":      "is not the number of a descriptor above 2",
		"-3":     "is not the number of a descriptor",
		"9999":   "inherited from another program",
		"1e999 ": "is not the number of a descriptor",
	} {
		t.Setenv(EnvFD, value)
		_, err := FromEnv()
		wantText(t, err, text)
		if errors.Is(err, ErrNoSupervisor) {
			t.Errorf("%q: %v", value, err)
		}
	}
	t.Setenv(EnvFD, strconv.Itoa(inheritable(t)))
	c, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if value, ok := os.LookupEnv(EnvFD); ok {
		t.Errorf("%s is still set to %q", EnvFD, value)
	}
	raw, err := c.sock.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	})
}

// inheritable is a channel's end as a child finds it, not close-on-exec.
func inheritable(t *testing.T) int {
	t.Helper()
	parent, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parent.Close() })
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
