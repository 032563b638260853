package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// census returns a Census of processes that ends with the test.
func census(t testing.TB, fds []int, pids ...int) *Census {
	t.Helper()
	c, err := NewCensus(fds, func(context.Context) ([]int, error) { return pids, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func tell(t testing.TB, c *Census) []Connections {
	t.Helper()
	into := make([]Connections, len(c.listeners))
	if _, err := c.Look(t.Context(), into); err != nil {
		t.Fatal(err)
	}
	return into
}

// accepted returns the server's end of a connection that a client has made; both
// end with the test.
func accepted(t testing.TB, listener int) int {
	t.Helper()
	connect(t, addressOf(t, listener))
	fd := -1
	eventually(t, "the connection is there", func() (there bool) {
		var err error
		fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		return err == nil
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// shut closes a connection whose number the end of the test will close: until then
// nobody else gets it.
func shut(t testing.TB, fd int) {
	t.Helper()
	if err := unix.Dup3(socketFor(t, 0, v4(1, 0)), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// everyKind are listeners of all kinds that a service may have.
func everyKind(t testing.TB) (fds []int, names []string) {
	t.Helper()
	bare := func(domain, typ int) int {
		fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	packets := bare(unix.AF_UNIX, unix.SOCK_SEQPACKET)
	if err := errors.Join(unix.Bind(packets, &unix.SockaddrUnix{Name: "@" + t.Name()}), unix.Listen(packets, 10)); err != nil {
		t.Fatal(err)
	}
	return []int{
		listen(t, unix.IPPROTO_TCP, v4(1, 0), 100),
		listen(t, unix.IPPROTO_TCP, v6(0), 100),
		listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet6{}, 100),
		listen(t, 0, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}, 100),
		listen(t, 0, &unix.SockaddrUnix{Name: "@" + t.Name()}, 100),
		packets,
		bare(unix.AF_INET, unix.SOCK_DGRAM),
	}, []string{"TCP4", "TCP6", "dual stack", "unix", "abstract", "unixpacket", "udp"}
}

func TestOpenConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	fds, names := everyKind(t)
	c := census(t, fds, os.Getpid())
	for i, l := range tell(t, c) {
		if l != (Connections{Known: true}) {
			t.Errorf("%s: %+v at first", names[i], l)
		}
	}
	dual := portOf(t, fds[2])
	for i, fd := range fds[:5] {
		for range i + 2 {
			accepted(t, fd)
		}
	}
	connect(t, v4(1, dual)) // over IPv4, and nobody accepts it
	connect(t, addressOf(t, fds[0]))
	connect(t, addressOf(t, fds[3]))
	want := []int{2, 3, 4, 5, 6, 0, 0}
	for i, l := range tell(t, c) {
		if !l.Known || l.Open != want[i] {
			t.Errorf("%s: %+v, want %d", names[i], l, want[i])
		}
	}
	overV4, _, err := unix.Accept4(fds[2], unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(overV4) })
	if got := tell(t, c)[2].Open; got != 5 {
		t.Errorf("%d are open on the dual-stack listener, want 5: four over IPv6, one over IPv4", got)
	}
}

func TestWhatIsClosedCountsNoMore(t *testing.T) {
	t.Parallel()
	fds, _ := everyKind(t)
	c := census(t, fds, os.Getpid())
	for _, fd := range []int{fds[0], fds[3]} {
		half := accepted(t, fd)
		if err := unix.Shutdown(half, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
	}
	one, other := accepted(t, fds[0]), accepted(t, fds[3])
	if got := tell(t, c); got[0].Open != 2 || got[3].Open != 2 {
		t.Errorf("%+v, want 2 each: shut down for writing is open", got)
	}
	shut(t, one)
	shut(t, other)
	if got := tell(t, c); got[0].Open != 1 || got[3].Open != 1 {
		t.Errorf("%+v, want 1 each", got)
	}
}

// TestOthersConnectionsDoNotCount: two generations share the listeners, and what
// one of them has is not the other's, whoever is asked first. What a process has
// forked has it too, and that is one connection.
func TestOthersConnectionsDoNotCount(t *testing.T) {
	t.Parallel()
	listener := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	theirs, both := accepted(t, listener), accepted(t, listener)
	child := holds(t, theirs, both)
	shut(t, theirs)
	own, others := census(t, []int{listener}, os.Getpid()), census(t, []int{listener}, child)
	for range strange + 1 { // at first what is strange may yet turn up
		if a, b := tell(t, own)[0], tell(t, others)[0]; a != (Connections{1, true}) || b != (Connections{2, true}) {
			t.Errorf("%+v and %+v, want 1 and 2", a, b)
		}
	}
	accepted(t, listener)
	if a, b := tell(t, own)[0], tell(t, others)[0]; a.Open != 2 || b.Open != 2 {
		t.Errorf("%+v and %+v, want 2 and 2", a, b)
	}
	if got := tell(t, census(t, []int{listener}, os.Getpid(), child))[0].Open; got != 3 {
		t.Errorf("both have %d, want 3", got)
	}
	ended := census(t, []int{listener}, 1<<22+1)
	if got := tell(t, ended)[0]; got != (Connections{0, true}) {
		t.Errorf("a process that is not there has %+v", got)
	}
}

// holds starts a process that has descriptors open, and does nothing.
func holds(t testing.TB, fds ...int) (pid int) {
	t.Helper()
	files := []uintptr{0, 1, 2}
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	})
	return pid
}

// TestWhatIsKnownIsNotLookedForAgain: with nothing new the processes are left alone.
func TestWhatIsKnownIsNotLookedForAgain(t *testing.T) {
	t.Parallel()
	listener := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	asked := 0
	c := census(t, []int{listener})
	c.processes = func(context.Context) ([]int, error) {
		asked++
		return []int{os.Getpid()}, nil
	}
	tell(t, c)
	accepted(t, listener)
	for range 5 {
		if got := tell(t, c)[0].Open; got != 1 {
			t.Errorf("%d are open", got)
		}
	}
	if asked != 1 {
		t.Errorf("the processes were asked for %d times, want once", asked)
	}
}

func TestWhatCannotBeCountedIsNotKnown(t *testing.T) {
	t.Parallel()
	listener := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	deaf := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	accepted(t, listener)
	refused := errors.New("refused")
	for name, spoil := range map[string]func(c *Census){
		"processes":   func(c *Census) { c.processes = func(context.Context) ([]int, error) { return nil, refused } },
		"other netns": func(c *Census) { c.listeners[0].err = refused },
	} {
		c := census(t, []int{listener}, os.Getpid())
		spoil(c)
		into := []Connections{{7, true}}
		if _, err := c.Look(t.Context(), into); !errors.Is(err, refused) || into[0].Known {
			t.Errorf("%s: %+v, %v", name, into, err)
		}
	}
	if err := unix.Shutdown(deaf, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	into := make([]Connections, 2)
	if _, err := census(t, []int{listener, deaf}, os.Getpid()).Look(t.Context(), into); err == nil || into[0] != (Connections{1, true}) || into[1].Known {
		t.Errorf("%+v, %v: want that the other one does not listen", into, err)
	}
}

func TestDescriptorsAreLimited(t *testing.T) {
	t.Parallel()
	r := fdReader{left: 2}
	err := r.sockets(t.Context(), os.Getpid(), func(uint32) {})
	if !errors.Is(err, errCensusLimit) {
		t.Errorf("%v", err)
	}
	r.left = censusDescriptors
	late, cancel := context.WithCancelCause(t.Context())
	cancel(errCensusLimit)
	if err := r.sockets(late, os.Getpid(), func(uint32) {}); !errors.Is(err, errCensusLimit) {
		t.Errorf("after the time: %v", err)
	}
	for text, want := range map[string]bool{
		"socket:[4711]": true, "socket:[]": false, "socket:[4711": false, "pipe:[4711]": false, "": false, "socket:[99999999999]": false,
	} {
		if inode, ok := socketInode([]byte(text)); ok != want || ok && inode != 4711 {
			t.Errorf("%q: %d, %t", text, inode, ok)
		}
	}
}

func TestCensusAgreesWithSs(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{listen(t, unix.IPPROTO_TCP, v4(1, 0), 100), listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet6{}, 100)}
	child := holds(t, accepted(t, fds[0]), accepted(t, fds[1]))
	for range 5 {
		accepted(t, fds[0])
		accepted(t, fds[1])
		connect(t, v4(1, portOf(t, fds[1])))
	}
	own := tell(t, census(t, fds, os.Getpid()))
	others := tell(t, census(t, fds, child))
	lines := strings.Split(output(t, "ss", "-tnpH", "state", "connected"), "\n")
	for i, fd := range fds {
		for pid, got := range map[int]int{os.Getpid(): own[i].Open, child: others[i].Open} {
			local, user := fmt.Sprintf(":%d ", portOf(t, fd)), "pid="+strconv.Itoa(pid)+","
			want := 0
			for _, line := range lines {
				fields := strings.Fields(line)
				if len(fields) > 4 && strings.HasSuffix(fields[3]+" ", local) && strings.Contains(line, user) {
					want++
				}
			}
			if got != want || want == 0 {
				t.Errorf("listener %d, process %d: %d, and ss shows %d:\n%s", i, pid, got, want, strings.Join(lines, "\n"))
			}
		}
	}
}
