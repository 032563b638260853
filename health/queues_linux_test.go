package health

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// jiffy is the kernel's step of time, as its coarse clocks tell.
func jiffy(t *testing.T) time.Duration {
	t.Helper()
	var step unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &step); err != nil {
		t.Fatal(err)
	}
	return time.Duration(step.Nano())
}

// coarse is the kernel's clock as it was at its last tick. Ages are told in
// ticks, and a busy virtual machine has its ticks late, several at a time: by
// that clock, and no other, an age is right within a jiffy.
func coarse(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

func TestAgeIsTheKnownDelayWithinAJiffy(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)
			s := sampler(t, fd)
			var old, young span
			old.birth(t, s, fd, 1)
			<-time.After(delay)
			young.birth(t, s, fd, 2)
			old.look, young.look = coarse(t), coarse(t)
			got := waiting(t, s)[0]
			old.looked, young.looked = coarse(t), coarse(t)
			if !got.Known || got.Count != 2 {
				t.Fatalf("%+v, want two that wait", got)
			}
			old.check(t, "oldest", got.Oldest)
			young.check(t, "youngest", got.Youngest)
			old.look = coarse(t)
			sojourn := sojournOfAccepted(t, fd)
			old.looked = coarse(t)
			old.check(t, "accepted socket", sojourn)
		})
	}
}

// A span is when a connection was made and when its age was read, each
// somewhere between two moments.
type span struct{ connect, connected, look, looked time.Duration }

func (a *span) birth(t *testing.T, s *Sampler, fd int, depth uint32) {
	t.Helper()
	a.connect = coarse(t)
	connect(t, addressOf(t, fd))
	depthBecomes(t, s, 0, depth)
	a.connected = coarse(t)
}

func (a *span) check(t *testing.T, what string, age time.Duration) {
	t.Helper()
	least, most := a.look-a.connected-jiffy(t), a.looked-a.connect+jiffy(t)
	if age < least || age > most {
		t.Errorf("%s: age %v, want between %v and %v", what, age, least, most)
	}
}

// sojournOfAccepted accepts and asks the connection itself, as a service may.
func sojournOfAccepted(t *testing.T, listener int) time.Duration {
	t.Helper()
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var info [tcpiLastDataSent + 4]byte
	if n, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info[:]); err != nil || n != len(info) {
		t.Fatalf("%d bytes, error %v", n, err)
	}
	return time.Duration(binary.NativeEndian.Uint32(info[tcpiLastDataSent:])) * time.Millisecond
}

func TestAcceptedDoNotWait(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)
	s := sampler(t, fd)
	for range 3 {
		connect(t, addressOf(t, fd))
	}
	depthBecomes(t, s, 0, 3)
	for left := 2; left >= 0; left-- {
		accepted, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(accepted) })
		if got := waiting(t, s)[0]; !got.Known || got.Count != left || left == 0 && got != (Waiting{Known: true}) {
			t.Errorf("%+v, want %d that wait", got, left)
		}
	}
}

func TestOnlyTheWantedAreLookedInto(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fds := []int{listen(t, unix.IPPROTO_TCP, v4(1, 0), 5), listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)}
	s := sampler(t, fds...)
	for i, fd := range fds {
		connect(t, addressOf(t, fd))
		depthBecomes(t, s, i, 1)
	}
	before := Waiting{Known: true, Count: 7}
	into := []Waiting{before, before}
	if _, err := s.Waiting(into, []bool{false, true}); err != nil || into[0] != before || into[1].Count != 1 {
		t.Errorf("%+v, error %v", into, err)
	}
	if _, err := s.Waiting(into, []bool{false, false}); err != nil || into[1].Count != 1 {
		t.Errorf("%+v, error %v", into, err)
	}
}

// TestMostSpecificListenerGetsTheConnection wants each connection to be counted
// where the kernel put it, which the depths tell.
func TestMostSpecificListenerGetsTheConnection(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	const port = 8080
	mapped := func(last byte) *unix.SockaddrInet6 {
		return &unix.SockaddrInet6{Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: last}, Port: port}
	}
	anyV6 := listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet6{Port: port}, 9, unix.SO_REUSEPORT)
	fds := []int{
		anyV6, // dual-stack: v4 too, where nothing fits better
		listen(t, unix.IPPROTO_TCP, v4(2, port), 9, unix.SO_REUSEPORT),
		listen(t, unix.IPPROTO_TCP, v4(3, port), 9, unix.SO_REUSEPORT),
		listen(t, unix.IPPROTO_TCP, mapped(4), 9, unix.SO_REUSEPORT),
		listen(t, unix.IPPROTO_TCP, v6(port), 9, unix.SO_REUSEPORT),
		listen(t, unix.IPPROTO_TCP, v6(port+1), 9),
	}
	s := sampler(t, fds...)
	clients := []unix.Sockaddr{
		v4(1, port), v4(9, port), v4(10, port), // for the dual-stack one
		v4(2, port), v4(3, port), v4(3, port), v4(4, port), v6(port), v6(port), v6(port + 1),
	}
	for _, to := range clients {
		connect(t, to)
	}
	want := []int{3, 1, 2, 1, 2, 1}
	for i, n := range want {
		depthBecomes(t, s, i, uint32(n))
	}
	var got []int
	for _, w := range waiting(t, s) {
		got = append(got, w.Count)
	}
	if !slices.Equal(got, want) {
		t.Errorf("waiting %v, want %v", got, want)
	}
}

// TestListenersOfOthersAreNotMistaken has a listener that the Sampler does not
// know take what would else be counted for the one that it knows.
func TestListenersOfOthersAreNotMistaken(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	const port = 8080
	known := listen(t, unix.IPPROTO_TCP, v4(1, port), 9)
	all := listen(t, unix.IPPROTO_TCP, &unix.SockaddrInet4{Port: port + 1}, 9, unix.SO_REUSEPORT)
	other := listen(t, unix.IPPROTO_TCP, v4(2, port+1), 9, unix.SO_REUSEPORT)
	s, others := sampler(t, known, all), sampler(t, other)
	connect(t, v4(2, port+1))
	depthBecomes(t, others, 0, 1)
	if w := waiting(t, s); w[0] != (Waiting{Known: true}) || w[1] != (Waiting{Known: true}) {
		t.Errorf("%+v, want nothing that waits", w)
	}
}

func TestDeviceIsPartOfThePlace(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	everywhere := listen(t, unix.IPPROTO_TCP, v4(1, 0), 9, unix.SO_REUSEPORT)
	address := addressOf(t, everywhere)
	onLo := socketFor(t, unix.IPPROTO_TCP, address)
	for _, err := range []error{
		unix.SetsockoptInt(onLo, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.BindToDevice(onLo, "lo"), unix.Bind(onLo, address), unix.Listen(onLo, 9),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := sampler(t, everywhere, onLo)
	connect(t, address)
	depthBecomes(t, s, 1, 1)
	if w := waiting(t, s); w[0].Count != 0 || w[1].Count != 1 {
		t.Errorf("%+v, want one that waits at lo's listener", w)
	}
}

func TestManyPortsAtOnce(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	var fds []int
	for range 3 * maxFilterPorts {
		fds = append(fds, listen(t, unix.IPPROTO_TCP, v4(1, 0), 5))
	}
	s := sampler(t, fds...)
	for i, n := range []int{0: 1, 100: 2} {
		for range n {
			connect(t, addressOf(t, fds[i]))
		}
		depthBecomes(t, s, i, uint32(n))
	}
	for i, w := range waiting(t, s) {
		want := map[int]int{0: 1, 100: 2}[i]
		if !w.Known || w.Count != want {
			t.Errorf("listener %d: %+v, want %d that wait", i, w, want)
		}
	}
}
