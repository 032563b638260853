package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenEveryNetwork checks what every socket has to be for the supervisor
// to hold it.
func TestOpenEveryNetwork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, url := range []string{
		"tcp://127.0.0.1:0", "tcp4://127.0.0.1:0", "tcp6://[::1]:0", "udp://127.0.0.1:0", "udp4://127.0.0.1:0", "udp6://[::1]:0",
		"unix://" + dir + "/s", "unixpacket://" + dir + "/p", "unixgram://" + dir + "/g",
		fmt.Sprintf("unix://@supervisor-test-%d-all", os.Getpid()), "tcp://localhost:0",
	} {
		s := mustOpen(t, fmt.Sprintf("l%d=%s", i, url))
		flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("%s: descriptor flags %#x, %v: it blocks", url, flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: not close-on-exec (%v)", url, err)
		}
		if got := sockoptInt(t, s.FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN) == 1; got != s.isStream() {
			t.Errorf("%s: listening %v", url, got)
		}
		if inEpollSet(t, s.FD) {
			t.Errorf("%s: an epoll set of this process watches it", url)
		}
		if strings.HasSuffix(s.Addr, ":0") || s.Addr == "" {
			t.Errorf("%s: address as bound is %q", url, s.Addr)
		}
	}
}

// inEpollSet reports whether any epoll set of this process watches the file
// behind fd, under whatever number (proc_pid_fdinfo(5)).
func inEpollSet(t *testing.T, fd int) bool {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		t.Fatal(err)
	}
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil || len(infos) == 0 {
		t.Fatalf("no descriptors in /proc: %v", err)
	}
	for _, name := range infos {
		text, _ := os.ReadFile(name) // gone meanwhile: not ours
		for line := range bytes.Lines(text) {
			if bytes.HasPrefix(line, []byte("tfd:")) && bytes.Contains(line, fmt.Appendf(nil, " ino:%x ", stat.Ino)) {
				return true
			}
		}
	}
	return false
}

func TestInEpollSetSeesAListenerOfPackageNet(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if !inEpollSet(t, int(fd)) {
			t.Error("not seen: TestOpenEveryNetwork would never fail")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestOpenListensWithoutMPTCP(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "a=tcp://127.0.0.1:0")
	if got := sockoptInt(t, s.FD, unix.SOL_SOCKET, unix.SO_PROTOCOL); got != unix.IPPROTO_TCP {
		t.Errorf("protocol %d, want TCP (%d)", got, unix.IPPROTO_TCP)
	}
}

func TestOpenSetsTheBacklog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"": limit, "?backlog=1": 1, "?backlog=7": 7, "?backlog=2147483647": limit,
	} {
		for _, url := range []string{"tcp4://127.0.0.1:0", "tcp6://[::1]:0"} {
			s := mustOpen(t, "a="+url+query)
			info, err := unix.GetsockoptTCPInfo(s.FD, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				t.Fatal(err)
			}
			// tcpi_sacked, at offset 28, is sk_max_ack_backlog of a listener.
			if int(info.Sacked) != want {
				t.Errorf("%s%s: backlog %d, want %d", url, query, info.Sacked, want)
			}
		}
	}
}

func TestUnixBacklogIsSet(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "a=unix://"+t.TempDir()+"/s?backlog=2")
	var clients []int
	defer func() {
		for _, fd := range clients {
			unix.Close(fd)
		}
	}()
	var err error
	for err == nil && len(clients) < 10 {
		fd, e := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if e != nil {
			t.Fatal(e)
		}
		clients = append(clients, fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: s.Address})
	}
	if !errors.Is(err, unix.EAGAIN) || len(clients) != 4 {
		t.Errorf("connection %d failed with %v; a backlog of 2 holds 3, so number 4 should get EAGAIN", len(clients), err)
	}
}

func TestNetworkChoosesIPVersions(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]int{"tcp6://[::]:0": 1, "udp6://[::]:0": 1, "tcp://:0": 0, "udp://[::]:0": 0} {
		s := mustOpen(t, "a="+url)
		if got := sockoptInt(t, s.FD, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); got != want {
			t.Errorf("%s: IPV6_V6ONLY %d, want %d", url, got, want)
		}
	}
}

func TestPortZeroIsResolved(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "a=tcp://127.0.0.1:0")
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s.Address != "127.0.0.1:0" {
		t.Errorf("the spec became %q", s.Address)
	}
}

func TestOpenExplainsErrors(t *testing.T) {
	t.Parallel()
	tcp := mustOpen(t, "a=tcp://127.0.0.1:0")
	udp := mustOpen(t, "a=udp://127.0.0.1:0")
	abstract := mustOpen(t, fmt.Sprintf("a=unix://@supervisor-test-%d-errors", os.Getpid()))
	for _, row := range []struct {
		spec  Spec
		is    error
		words []string
	}{
		{Spec{Name: "web", Network: "tcp", Address: tcp.Addr}, ErrInUse, []string{`"web"`, tcp.Addr, "ss -ltnp"}},
		{Spec{Name: "web", Network: "tcp", Address: tcp.Addr}, unix.EADDRINUSE, nil},
		{Spec{Name: "dns", Network: "udp", Address: udp.Addr}, ErrInUse, []string{udp.Addr, "ss -lunp"}},
		{Spec{Name: "x", Network: "unix", Address: abstract.Address}, ErrInUse, []string{"ss -xap src @"}},
		{Spec{Name: "x", Network: "tcp", Address: "192.0.2.1:0"}, unix.EADDRNOTAVAIL, []string{"ip address"}},
		{Spec{Name: "x", Network: "unix", Address: "/no/such/dir/s"}, unix.ENOENT, []string{"/no/such/dir"}},
		{Spec{Name: "x", Network: "tcp", Address: "127.0.0.1"}, nil, []string{"HOST:PORT"}},
		{Spec{Name: "x", Network: "tcp", Address: ":0", Backlog: -1}, nil, []string{"backlog -1"}},
		{Spec{Name: "x", Network: "unix", Address: "@x", Mode: 0o600}, nil, []string{"mode applies"}},
		{Spec{Name: "x", Network: "unix", Address: "/tmp/x", Mode: os.ModeSetuid | 0o600}, nil, []string{"permission bits"}},
	} {
		s, err := Open(t.Context(), row.spec)
		if err == nil {
			s.Close()
			t.Errorf("%v: no error", row.spec)
			continue
		}
		if row.is != nil && !errors.Is(err, row.is) {
			t.Errorf("%v: %q is not %v", row.spec, err, row.is)
		}
		for _, word := range append(row.words, "cannot open listener") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v: %q does not say %q", row.spec, err, word)
			}
		}
	}
}

func TestOpenAllIsAllOrNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	specs, err := ParseSpecs([]string{"a=unix://" + dir + "/a", "b=tcp://127.0.0.1:0", "c=unix://" + dir + "/none/c"})
	if err != nil {
		t.Fatal(err)
	}
	if sockets, err := OpenAll(t.Context(), specs); err == nil || sockets != nil {
		t.Fatalf("%v, %v", sockets, err)
	}
	if _, err := os.Lstat(dir + "/a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first socket's file is still there: %v", err)
	}
	sockets, err := OpenAll(t.Context(), specs[:2])
	if err != nil || len(sockets) != 2 || sockets[0].Name != "a" || sockets[1].Name != "b" {
		t.Fatalf("%v, %v", sockets, err)
	}
	for _, s := range sockets {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenAll(t.Context(), []Spec{specs[1], specs[1]}); err == nil {
		t.Error("the same name was opened twice")
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "a=tcp://127.0.0.1:0")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The number may belong to somebody else by now: a second close must not
	// touch it.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lockDirectory(t.Context(), dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := Open(ctx, Spec{Name: "a", Network: "unix", Address: dir + "/s"})
	if !errors.Is(err, context.Canceled) || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}
