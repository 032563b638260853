package fdpass

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// otherSockets opens one socket of each network but tcp4, bound and listening.
func otherSockets(t *testing.T) map[string]int {
	t.Helper()
	dir := t.TempDir()
	loopback := [16]byte{15: 1}
	all := map[string]int{
		"tcp":        bound(t, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{}, false),
		"tcp6":       bound(t, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{Addr: loopback}, true),
		"udp4":       bound(t, unix.AF_INET, unix.SOCK_DGRAM, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, false),
		"udp":        bound(t, unix.AF_INET6, unix.SOCK_DGRAM, &unix.SockaddrInet6{}, false),
		"udp6":       bound(t, unix.AF_INET6, unix.SOCK_DGRAM, &unix.SockaddrInet6{Addr: loopback}, true),
		"unix":       bound(t, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: filepath.Join(dir, "s")}, false),
		"unixpacket": bound(t, unix.AF_UNIX, unix.SOCK_SEQPACKET, &unix.SockaddrUnix{Name: "@" + dir}, false),
		"unixgram":   bound(t, unix.AF_UNIX, unix.SOCK_DGRAM, &unix.SockaddrUnix{Name: filepath.Join(dir, "d")}, false),
	}
	return all
}

func bound(t *testing.T, domain, typ int, at unix.Sockaddr, only6 bool) int {
	t.Helper()
	fd := socket(t, domain, typ)
	if domain == unix.AF_INET6 {
		value := 0
		if only6 {
			value = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if typ == unix.SOCK_DGRAM {
		return fd
	}
	if err := unix.Listen(fd, 4); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestDescribeTellsTheNetwork(t *testing.T) {
	leaktest.Check(t)
	all := otherSockets(t)
	all["tcp4"] = listenTCP(t)
	prefix := map[string]string{
		"tcp": "[::]:", "tcp4": "127.0.0.1:", "tcp6": "[::1]:",
		"udp": "[::]:", "udp4": "127.0.0.1:", "udp6": "[::1]:",
		"unix": "/", "unixgram": "/", "unixpacket": "@/",
	}
	if len(all) != len(networks()) {
		t.Errorf("%d of %d networks", len(all), len(networks()))
	}
	for network, fd := range all {
		l, err := Describe("x", fd)
		if err != nil {
			t.Error(err)
			continue
		}
		if l.Network != network || !strings.HasPrefix(l.Address, prefix[network]) || l.Cookie == 0 || l.FD != fd || l.Name != "x" {
			t.Errorf("%s: %+v", network, l)
		}
		if err := l.Verify(); err != nil {
			t.Error(err)
		}
	}
}

func TestDescribeRefusesWhatCannotBeServed(t *testing.T) {
	leaktest.Check(t)
	r, w := pipe(t)
	defer unix.Close(w)
	for _, c := range []struct {
		name string
		fd   int
		text string
	}{
		{"not listening", socket(t, unix.AF_INET, unix.SOCK_STREAM), "the socket is not bound"},
		{"not bound", socket(t, unix.AF_INET, unix.SOCK_DGRAM), "the socket is not bound"},
		{"not-bound", socket(t, unix.AF_UNIX, unix.SOCK_DGRAM), "the socket is not bound"},
		{"pipe", r, "non-socket"},
		{"closed", -1, "bad file descriptor"},
		{"netlink", socket(t, unix.AF_NETLINK, unix.SOCK_RAW), "are not supported"},
		{"a=b", listenTCP(t), "name must be printable"},
		{"", listenTCP(t), "name is missing"},
	} {
		_, err := Describe(c.name, c.fd)
		wantText(t, err, c.text)
	}
	fd := socket(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	_, err := Describe("bound", fd)
	wantText(t, err, "the socket does not listen")
}

func TestCookieIsTheSocketsIdentity(t *testing.T) {
	leaktest.Check(t)
	ls := listeners(t, 2)
	copied, err := unix.FcntlInt(uintptr(ls[0].FD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	same, other := ls[0], ls[0]
	same.FD, other.FD = copied, ls[1].FD
	if err := same.Verify(); err != nil {
		t.Errorf("a copy: %v", err)
	}
	if err := other.Verify(); !errors.Is(err, ErrCookie) {
		t.Errorf("another socket: %v", err)
	}
	if err := unix.Shutdown(copied, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	wantText(t, ls[0].Verify(), "the socket does not listen")
}

func TestDescribeKeepsAddressesInUTF8(t *testing.T) {
	leaktest.Check(t)
	name := "@" + filepath.Base(t.TempDir()) + "\xff\xfe\"\n"
	fd := bound(t, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: name}, false)
	l, err := Describe("x", fd)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(l.Address, "\uFFFD\"\n") {
		t.Errorf("address is %q", l.Address)
	}
}
