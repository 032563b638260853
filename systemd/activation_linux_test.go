package systemd

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

func listenEnv(pid, fds, names string) []string {
	return []string{"LISTEN_PID=" + pid, "LISTEN_FDS=" + fds, "LISTEN_FDNAMES=" + names, "LISTEN_PIDFDID=1"}
}

func passed(names ...string) []string {
	return listenEnv("self", fmt.Sprint(len(names)), strings.Join(names, ":"))
}

func TestInheritTakesEverySupportedSocket(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]kind{
		"tcp": tcp, "tcp6": tcp6, "mptcp": mptcp, "udp": udp,
		"unix": stream, "unixpacket": seqpacket, "unixgram": datagram,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := startWith(t, "", passed(name), open(t))
			if want := []Descriptor{{name, 3}}; got.Error != "" || !slices.Equal(got.Inherited.Units, want) {
				t.Errorf("inherited %+v, %s", got.Inherited, got.Error)
			}
			if got.Inheritable != nil || slices.Contains(got.Blocking, 3) {
				t.Errorf("inheritable: %d, blocking: %d", got.Inheritable, got.Blocking)
			}
		})
	}
}

func TestInheritSeparatesTheStore(t *testing.T) {
	t.Parallel()
	// The store may hold anything, also what no unit may pass and twice.
	fds := openAll(t, []kind{tcp, udp, tcp, device, silent, tcp})
	got := startWith(t, "", passed("http", "supervisor.socket", StoreName("admin"), "stored", StoreName("admin"), "x.Y_z-9"), fds...)
	want := Inherited{
		Units:  []Descriptor{{"http", 3}, {"supervisor.socket", 4}, {"x.Y_z-9", 8}},
		Stored: []Descriptor{{"supervisor.listener.admin", 5}, {"stored", 6}, {"supervisor.listener.admin", 7}},
	}
	if got.Error != "" || !slices.Equal(got.Inherited.Units, want.Units) || !slices.Equal(got.Inherited.Stored, want.Stored) {
		t.Errorf("inherited %+v, %s", got.Inherited, got.Error)
	}
	got.Blocking = slices.DeleteFunc(got.Blocking, func(fd int) bool { return fd > 8 }) // the runtime's own
	if got.Inheritable != nil || !slices.Equal(got.Blocking, []int{6}) {                // /dev/null is no socket
		t.Errorf("inheritable: %d, blocking: %d", got.Inheritable, got.Blocking)
	}
	if got.Environment != nil {
		t.Errorf("left in the environment: %q", got.Environment)
	}
}

func TestInheritNothing(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"no environment":  nil,
		"no descriptors":  listenEnv("self", "0", ""),
		"only the others": {"LISTEN_FDNAMES=http", "LISTEN_PIDFDID=1"},
	} {
		got := startWith(t, "", env)
		if got.Error != "" || got.Inherited.Units != nil || got.Inherited.Stored != nil || got.Environment != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestInheritRefusesAndCloses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env   []string
		kinds []kind
		texts []string
	}{
		"a wrapper":        {listenEnv("1", "1", "http"), []kind{tcp}, []string{"LISTEN_PID=1 is another process", "ExecStart="}},
		"no pid":           {listenEnv("", "1", "http"), []kind{tcp}, []string{"LISTEN_PID is not", "ExecStart="}},
		"pid of words":     {listenEnv("me", "1", "http"), []kind{tcp}, []string{`LISTEN_PID="me" is not the number`, "Environment="}},
		"no number":        {listenEnv("self", "", "http"), []kind{tcp}, []string{"LISTEN_FDS is not", "ExecStart="}},
		"number of words":  {listenEnv("self", "one", "http"), []kind{tcp}, []string{`LISTEN_FDS="one"`, "Environment="}},
		"negative":         {listenEnv("self", "-1", "http"), []kind{tcp}, []string{`LISTEN_FDS="-1"`, "Environment="}},
		"huge":             {listenEnv("self", "70000", "http"), []kind{tcp}, []string{"more than can be passed", "Environment="}},
		"gigantic":         {listenEnv("self", "99999999999999999999", "http"), []kind{tcp}, []string{"more than can be passed", "Environment="}},
		"too few names":    {listenEnv("self", "2", "http"), []kind{tcp, udp}, []string{"LISTEN_FDS=2, but LISTEN_FDNAMES has 1 names"}},
		"too many names":   {listenEnv("self", "1", "http:dns"), []kind{tcp}, []string{"LISTEN_FDS=1, but LISTEN_FDNAMES has 2 names"}},
		"no names":         {listenEnv("self", "1", ""), []kind{tcp}, []string{"have no names", "FileDescriptorName="}},
		"unknown":          {passed("unknown"), []kind{tcp}, []string{"has no name", "FileDescriptorName="}},
		"one unnamed":      {passed("http", ""), []kind{tcp, tcp}, []string{"descriptor 4", "has no name", "FileDescriptorName="}},
		"long name":        {passed(strings.Repeat("x", 256)), []kind{tcp}, []string{"longer than 255", "FileDescriptorName="}},
		"name of template": {passed("supervisor@web.socket"), []kind{tcp}, []string{"letters, digits", "FileDescriptorName="}},
		"duplicate": {passed("http", "dns", "http"), []kind{tcp, udp, tcp},
			[]string{`descriptor 5 ("http")`, "descriptor 3 has that name too", "ListenStream=", "FileDescriptorName=", "one .socket unit"}},
		"Accept=yes":      {passed("connection"), []kind{accepted}, []string{"it is a connection", "Accept=no"}},
		"Accept=yes unix": {passed("connection"), []kind{acceptedUnix}, []string{"it is a connection", "Accept=no"}},
		"not listening":   {passed("http"), []kind{silent}, []string{"does not listen", "restart that socket unit"}},
		"FIFO":            {passed("http"), []kind{fifo}, []string{"a FIFO (ListenFIFO=)", "use ListenStream="}},
		"device":          {passed("http"), []kind{device}, []string{"a character device (ListenSpecial=", "use ListenStream="}},
		"file":            {passed("http"), []kind{file}, []string{"a file (ListenSpecial=, OpenFile=)"}},
		"message queue":   {passed("http"), []kind{queue}, []string{"a message queue (ListenMessageQueue=)"}},
		"directory":       {passed("http"), []kind{directory}, []string{"a directory"}},
		"special":         {passed("http"), []kind{special}, []string{"a special file"}},
		"netlink":         {passed("http"), []kind{netlink}, []string{"netlink", "ListenNetlink="}},
		"vsock":           {passed("http"), []kind{vsock}, []string{"vsock", "ListenStream="}},
		"other family":    {passed("http"), []kind{link}, []string{"family 17", "ListenStream="}},
		"other protocol":  {passed("http"), []kind{icmp}, []string{"internet protocol 1 ", "SocketProtocol="}},
		"all that is wrong is told": {passed("http", "dns", "admin"), []kind{fifo, udp, netlink},
			[]string{`descriptor 3 ("http")`, `descriptor 5 ("admin")`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fds := openAll(t, c.kinds)
			got := startWith(t, "", c.env, fds...)
			wantText(t, errors.New(got.Error), append(c.texts, "cannot take the sockets that systemd passed: ")...)
			mine := leaktest.Open()
			for i, fd := range fds {
				if got.Open[firstFD+i] == mine[fd] {
					t.Errorf("descriptor %d is still open: %s", firstFD+i, mine[fd])
				}
			}
			if got.Inheritable != nil || got.Environment != nil {
				t.Errorf("inheritable: %d, left in the environment: %q", got.Inheritable, got.Environment)
			}
		})
	}
}

func TestInheritDoesNotTakeWhatTheProcessOpened(t *testing.T) {
	t.Parallel()
	got := startWith(t, "open", passed("http", "dns"), tcp(t))
	wantText(t, errors.New(got.Error), `descriptor 4 ("dns"): it was not passed, this process opened it itself`)
	// The runtime may have opened files before; they stay open too.
	opened := slices.Sorted(maps.Values(got.Open))
	if got.Open[4] == "" || !slices.Contains(opened, os.DevNull) || got.Inheritable != nil {
		t.Errorf("open: %v, inheritable: %d", got.Open, got.Inheritable)
	}
}

func TestSecureRefusesWhatIsNotOpen(t *testing.T) {
	t.Parallel()
	secured, err := secure([]Descriptor{{"http", 1 << 30}})
	wantText(t, err, `descriptor 1073741824 ("http"): it is not open`, "LISTEN_FDS is too high", "Environment=")
	if len(secured) > 0 {
		t.Errorf("secured %v", secured)
	}
}

func TestInheritedCloses(t *testing.T) {
	a, b := openAgain(t, tcp(t)), openAgain(t, udp(t))
	i := Inherited{Units: []Descriptor{{"a", a}}, Stored: []Descriptor{{"b", b}}}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	wantText(t, i.Close(), fmt.Sprintf("cannot close descriptor %d (a)", a), fmt.Sprintf("cannot close descriptor %d (b)", b))
}

// openAgain duplicates a descriptor, for the test to close.
func openAgain(t *testing.T, fd int) int {
	t.Helper()
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 500) // a number that no other test will get meanwhile
	must(t, err)
	return again
}
