package health

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEveryListenerOfTheNamespaceIsShown(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	path := filepath.Join(t.TempDir(), "s.sock")
	packets := unixPacket(t)
	fds := map[string]int{
		"tcp 127.0.0.1:81":   listen(t, unix.IPPROTO_TCP, v4(1, 81), 10),
		"tcp [::1]:82":       listen(t, unix.IPPROTO_TCP, v6(82), 11),
		"tcp [::]:83":        listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet6{Port: 83}, 12),
		"tcp 127.0.0.1:84":   listen(t, unix.IPPROTO_MPTCP, v4(1, 84), 13),
		"unix " + path:       listen(t, 0, &unix.SockaddrUnix{Name: path}, 14),
		"unix @here":         listen(t, 0, &unix.SockaddrUnix{Name: "@here"}, 15),
		"unixpacket @packet": packets,
	}
	for _, fd := range fds {
		if fd != packets {
			connect(t, addressOf(t, fd))
		}
	}
	var all []NamespaceListener
	eventually(t, "six connections wait", func() bool {
		var err error
		if all, err = NamespaceListeners(); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, l := range all {
			sum += int(l.Depth)
		}
		return sum == 6
	})
	shown := map[string]bool{}
	for _, l := range all {
		name := l.Network + " " + l.Address
		fd, ok := fds[name]
		if !ok || shown[name] {
			t.Errorf("%s is shown, of %+v", name, l)
			continue
		}
		shown[name] = true
		checkListener(t, name, fd, l)
	}
	if len(shown) != len(fds) {
		t.Errorf("shown: %v, want all of %v", shown, fds)
	}
}

// checkListener compares with what the descriptor tells.
func checkListener(t *testing.T, name string, fd int, l NamespaceListener) {
	t.Helper()
	s := sampler(t, fd)
	if want := sample(t, s)[0]; l.Sample != want {
		t.Errorf("%s: %+v, want %+v", name, l.Sample, want)
	}
	want := Waiting{}
	if l.Network == "tcp" {
		want = Waiting{Known: true, Count: int(l.Depth), Oldest: l.Waiting.Oldest, Youngest: l.Waiting.Youngest}
	}
	if l.Waiting != want {
		t.Errorf("%s: %+v, want %+v", name, l.Waiting, want)
	}
	if l.Inode != s.sockets[0].inode || l.UID != uint32(os.Geteuid()) || l.Group != 1 {
		t.Errorf("%s: %+v, want inode %d", name, l, s.sockets[0].inode)
	}
}

func unixPacket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@packet"}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestV6OnlyIsTold(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fd := socketFor(t, unix.IPPROTO_TCP, v6(0))
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
		unix.Bind(fd, &unix.SockaddrInet6{}), unix.Listen(fd, 5),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet6{}, 6)
	all, err := NamespaceListeners()
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, error %v", all, err)
	}
	for _, l := range all {
		if l.V6Only != (l.Limit == 5) {
			t.Errorf("%+v", l)
		}
	}
}

func TestNamespaceAgreesWithSs(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	for i, backlog := range []int{3, 7, 128} {
		fd := listen(t, unix.IPPROTO_TCP, v4(byte(i+1), 80), backlog)
		connect(t, addressOf(t, fd))
		depthBecomes(t, sampler(t, fd), 0, 1)
	}
	all, err := NamespaceListeners()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, l := range all {
		got = append(got, fmt.Sprintf("%s %d/%d", l.Address, l.Depth, l.Limit))
	}
	line := regexp.MustCompile(`(?m)^LISTEN +(\d+) +(\d+) +(\S+) `)
	for _, m := range line.FindAllStringSubmatch(output(t, "ss", "-lntH"), -1) {
		want = append(want, m[3]+" "+m[1]+"/"+m[2])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, ss shows %q", got, want)
	}
}
