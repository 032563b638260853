package health

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestQueueHoldsOneMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		protocol int
		at       unix.Sockaddr
		backlog  int
	}{
		"v4":             {unix.IPPROTO_TCP, v4(1, 0), 3},
		"v6":             {unix.IPPROTO_TCP, v6(0), 3},
		"room for one":   {unix.IPPROTO_TCP, v4(1, 0), 0},
		"MPTCP":          {unix.IPPROTO_MPTCP, v4(1, 0), 2},
		"unix":           {0, &unix.SockaddrUnix{Name: "@"}, 2},
		"unix, one only": {0, &unix.SockaddrUnix{Name: "@"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			fd := listen(t, row.protocol, row.at, row.backlog)
			s := sampler(t, fd)
			for n := range row.backlog + 2 {
				got, limit := sample(t, s)[0], uint32(row.backlog)
				if want := (Sample{Depth: uint32(n), Limit: limit, Listening: true}); got != want {
					t.Fatalf("%d clients: %+v, want %+v", n, got, want)
				}
				if full := n == row.backlog+1; got.Full() != full || got.Room() != limit+1-uint32(n) {
					t.Errorf("%d clients: full %v, room %d", n, got.Full(), got.Room())
				}
				if n <= row.backlog {
					connect(t, addressOf(t, fd))
					depthBecomes(t, s, 0, uint32(n+1))
				}
			}
		})
	}
}

func TestSampleAgreesWithSs(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{
		listen(t, unix.IPPROTO_TCP, v4(1, 0), 3),
		listen(t, unix.IPPROTO_TCP, v6(0), 77),
		listen(t, unix.IPPROTO_MPTCP, v4(2, 0), 5),
	}
	s := sampler(t, fds...)
	for i, n := range []int{4, 2, 1} {
		for range n {
			connect(t, addressOf(t, fds[i]))
		}
		depthBecomes(t, s, i, uint32(n))
	}
	line := regexp.MustCompile(`(?m)^LISTEN +(\d+) +(\d+) +\S+:(\d+) `)
	shown := map[string]bool{}
	for _, m := range line.FindAllStringSubmatch(output(t, "ss", "-lntiH"), -1) {
		shown[m[3]+": "+m[1]+"/"+m[2]] = true
	}
	for i, got := range sample(t, s) {
		if is := fmt.Sprintf("%d: %d/%d", portOf(t, fds[i]), got.Depth, got.Limit); !shown[is] {
			t.Errorf("port: depth/limit %s, ss shows %v", is, shown)
		}
	}
}

func TestDeadConnectionsStayInTheQueue(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 10)
	s := sampler(t, fd)
	for i := range 5 {
		client := connect(t, addressOf(t, fd))
		depthBecomes(t, s, 0, uint32(i+1))
		if i < 3 {
			abort(t, client)
		} else if err := unix.Shutdown(client, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three connections are gone, two wait", func() bool {
		return waiting(t, s)[0].Count == 2
	})
	if got := sample(t, s)[0]; got.Depth != 5 || got.Drops != 0 {
		t.Errorf("%+v, want 5 connections and no drop", got)
	}
}

// abort ends a client's connection by a reset. Another socket takes the
// descriptor's number, so that the number can be closed as always.
func abort(t *testing.T, client int) {
	t.Helper()
	if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(socketFor(t, 0, v4(1, 0)), client, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

func TestReusePortGroupOneByOne(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{listen(t, unix.IPPROTO_TCP, v4(1, 0), 64, unix.SO_REUSEPORT)}
	for range 3 {
		fds = append(fds, listen(t, unix.IPPROTO_TCP, addressOf(t, fds[0]), 64, unix.SO_REUSEPORT))
	}
	s := sampler(t, fds...)
	const clients = 24
	for range clients {
		connect(t, addressOf(t, fds[0]))
	}
	var depths []uint64
	eventually(t, "all clients wait in some queue", func() bool {
		depths = depths[:0]
		sum := uint64(0)
		for _, one := range sample(t, s) {
			depths = append(depths, uint64(one.Depth))
			sum += uint64(one.Depth)
		}
		return sum == clients
	})
	if u := Uniformity(depths); u <= 0.25 || u > 1 {
		t.Errorf("uniformity of %v: %v, want more than one queue to be used", depths, u)
	}
	for i, w := range waiting(t, s) {
		if !w.Known || w.Count != clients {
			t.Errorf("member %d: %+v, want the group's %d", i, w, clients)
		}
	}
	all, err := NamespaceListeners()
	if err != nil || len(all) != 4 {
		t.Fatalf("%d listeners, error %v", len(all), err)
	}
	for _, l := range all {
		if l.Group != 4 || l.Depth > 0 && l.Waiting.Count != clients {
			t.Errorf("%+v, want one of a group of 4", l)
		}
	}
}

func TestShutdownListenerDoesNotListen(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		protocol int
		at       unix.Sockaddr
		revives  bool
	}{
		"TCP":   {unix.IPPROTO_TCP, v4(1, 0), true},
		"MPTCP": {unix.IPPROTO_MPTCP, v4(1, 0), true},
		"unix":  {0, &unix.SockaddrUnix{Name: "@"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			fd := listen(t, row.protocol, row.at, 5)
			s := sampler(t, fd)
			connect(t, addressOf(t, fd))
			depthBecomes(t, s, 0, 1)
			if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
				t.Fatal(err)
			}
			if got := sample(t, s)[0]; got.Listening {
				t.Errorf("after shutdown: %+v", got)
			}
			if c, err := Inspect(fd); err != nil || c.Listening {
				t.Errorf("after shutdown: %+v, error %v", c, err)
			}
			if err := unix.Listen(fd, 6); err != nil {
				t.Fatal(err)
			}
			if got := sample(t, s)[0]; got.Listening != row.revives {
				t.Errorf("after listen: %+v, want listening %v", got, row.revives)
			}
		})
	}
}

func TestListenAgainChangesTheLimit(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{listen(t, unix.IPPROTO_TCP, v4(1, 0), 5), listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 5)}
	s := sampler(t, fds...)
	for i, fd := range fds {
		if err := unix.Listen(fd, 9); err != nil {
			t.Fatal(err)
		}
		if got := sample(t, s)[i]; got.Limit != 9 {
			t.Errorf("listener %d: %+v, want limit 9", i, got)
		}
	}
}

func TestForeignNamespaceIsSampledButNotLookedInto(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{
		listen(t, unix.IPPROTO_TCP, v4(1, 0), 5),
		listen(t, unix.IPPROTO_MPTCP, v4(1, 0), 5),
		listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 5),
	}
	for _, fd := range fds {
		connect(t, addressOf(t, fd))
	}
	ownNamespace(t) // the listeners stay where they are
	s := sampler(t, fds...)
	into := make([]Sample, 3)
	err := s.Sample(into)
	if !errors.Is(err, ErrUnseen) || !errors.Is(s.Err(2), ErrUnseen) || s.Err(0) != nil || s.Err(1) != nil {
		t.Errorf("error %v, want the Unix listener's only", err)
	}
	want := Sample{Depth: 1, Limit: 5, Listening: true}
	if into[0] != want || into[1] != want || into[2] != (Sample{}) {
		t.Errorf("%+v", into)
	}
	for i, w := range waiting(t, s) {
		if w != (Waiting{}) {
			t.Errorf("listener %d: %+v, want what is not known", i, w)
		}
	}
	if _, err := Inspect(fds[2]); !errors.Is(err, ErrUnseen) {
		t.Errorf("error %v, want %v", err, ErrUnseen)
	}
}

func TestNobodyMayLookToo(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{
		listen(t, unix.IPPROTO_TCP, v4(1, 0), 5),
		listen(t, unix.IPPROTO_MPTCP, v4(1, 0), 5),
		listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 5),
	}
	for _, fd := range fds {
		connect(t, addressOf(t, fd))
	}
	// Of this thread alone: the package syscall would change them all.
	const nobody = 65534
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
		t.Skipf("cannot become another user: %v", errno)
	}
	s := sampler(t, fds...)
	for i := range fds {
		depthBecomes(t, s, i, 1)
	}
	if w := waiting(t, s); w[0].Count != 1 || w[1].Count != 1 {
		t.Errorf("%+v, want one that waits", w)
	}
}

func TestWhatHasNoQueueIsRefused(t *testing.T) {
	t.Parallel()
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	dgram, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dgram)
	file, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	connected := connect(t, addressOf(t, listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	refused := map[string]int{
		"UDP": udp, "unixgram": dgram, "file": file, "none": -1, "connected": connected, "pair": pair[0],
	}
	for name, fd := range refused {
		_, err := NewSampler([]int{fd})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot watch descriptor %d", fd)) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := Inspect(fd); err == nil {
			t.Errorf("%s: inspected", name)
		}
	}
}

func TestErrorOfOneListenerIsItsOwn(t *testing.T) {
	t.Parallel()
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)
	s := sampler(t, fd, fd)
	s.sockets[1].fd = -1
	into := []Sample{{}, {Depth: 7}}
	if err := s.Sample(into); !errors.Is(err, unix.EBADF) || s.Err(0) != nil || s.Err(1) == nil {
		t.Errorf("error %v", err)
	}
	if !into[0].Listening || into[1] != (Sample{}) {
		t.Errorf("%+v", into)
	}
	if err := s.Sample(into[:1]); err == nil {
		t.Error("too few samples are no error")
	}
	if _, err := s.Waiting(nil, nil); err == nil {
		t.Error("too few results are no error")
	}
}

func TestSampleTakesNoMemory(t *testing.T) {
	fds := make([]int, 10)
	for i := range fds {
		fds[i] = listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)
	}
	s := sampler(t, fds...)
	into := make([]Sample, len(fds))
	if n := testing.AllocsPerRun(100, func() { _ = s.Sample(into) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWithoutNetlink: where a process may have no netlink socket, TCP is sampled
// all the same.
func TestWithoutNetlink(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	other := listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 5)
	s, err := NewSampler([]int{fd, other})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.diag.Close(); err != nil {
		t.Fatal(err)
	}
	s.diag = &diag{netns: s.diag.netns, refused: ErrUnseen}
	connectTo(t, address, 2)
	into, waiting := make([]Sample, 2), make([]Waiting, 2)
	err = s.Sample(into)
	if !errors.Is(err, ErrUnseen) || s.Err(0) != nil || !errors.Is(s.Err(1), ErrUnseen) || into[0].Depth != 2 || !into[0].Listening {
		t.Errorf("%+v, %v", into, err)
	}
	if _, err := s.Waiting(waiting, []bool{true, true}); err != nil || waiting[0].Known {
		t.Errorf("%+v, %v", waiting, err)
	}
}
