package health

import (
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A dropWitness compares a listener's own drop counter with those of its network
// namespace, in which it is alone.
type dropWitness struct {
	t       *testing.T
	sampler *Sampler
	netstat *Netstat
	drops   uint32
	counted Counters
}

func newDropWitness(t *testing.T, fd int) *dropWitness {
	t.Helper()
	n, err := OpenNetstat()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &dropWitness{t: t, sampler: sampler(t, fd), netstat: n}
	w.drops, w.counted = w.read()
	return w
}

// read returns the listener's drops and the namespace's counters at one moment.
func (w *dropWitness) read() (uint32, Counters) {
	w.t.Helper()
	for {
		before, err := w.netstat.Read()
		if err != nil {
			w.t.Fatal(err)
		}
		drops := sample(w.t, w.sampler)[0].Drops
		after, err := w.netstat.Read()
		if err != nil {
			w.t.Fatal(err)
		}
		if before == after {
			return drops, after
		}
	}
}

// sees waits until the listener has dropped so much since the last call, and
// returns by how much the namespace's counters have grown.
func (w *dropWitness) sees(drops uint32) Counters {
	w.t.Helper()
	var now uint32
	var counted Counters
	eventually(w.t, "the drops "+strconv.Itoa(int(drops)), func() bool {
		now, counted = w.read()
		return now-w.drops >= drops
	})
	if now-w.drops != drops {
		w.t.Errorf("dropped %d, want %d", now-w.drops, drops)
	}
	since := counted.Since(w.counted)
	w.drops, w.counted = now, counted
	return since
}

// full returns a listener with a backlog whose queue is full.
func full(t *testing.T, protocol, backlog int) int {
	t.Helper()
	fd := listen(t, protocol, v4(1, 0), backlog)
	fill(t, fd, backlog+1)
	return fd
}

func fill(t *testing.T, fd, clients int) {
	t.Helper()
	s := sampler(t, fd)
	for i := range clients {
		connect(t, addressOf(t, fd))
		depthBecomes(t, s, 0, uint32(i+1))
	}
}

func TestEverySynAtAFullQueueIsADrop(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]int{"TCP": unix.IPPROTO_TCP, "MPTCP": unix.IPPROTO_MPTCP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			fd := full(t, protocol, 1)
			w := newDropWitness(t, fd)
			knock(t, addressOf(t, fd))
			want := Counters{ListenOverflows: 1, ListenDrops: 1}
			if got := w.sees(1); got != want {
				t.Errorf("first SYN: %+v, want %+v", got, want)
			}
			if got := w.sees(1); got != want { // a second later
				t.Errorf("its retransmission: %+v, want %+v", got, want)
			}
			agreeWithNstat(t, w.counted)
		})
	}
}

// agreeWithNstat compares with what nstat(8) reads in the same namespace.
func agreeWithNstat(t *testing.T, c Counters) {
	t.Helper()
	shown := output(t, "nstat", "-asz")
	for name, want := range map[string]uint64{
		"TcpExtListenOverflows": c.ListenOverflows, "TcpExtListenDrops": c.ListenDrops, "TcpPassiveOpens": c.PassiveOpens,
	} {
		m := regexp.MustCompile(`(?m)^` + name + ` +(\d+) `).FindStringSubmatch(shown)
		if m == nil || m[1] != strconv.FormatUint(want, 10) {
			t.Errorf("%s: %d, nstat shows %q", name, want, m)
		}
	}
}

// halfOpen returns a client that does not hear the answer to its SYN, so that
// the handshake does not end before hear.
func halfOpen(t *testing.T, to unix.Sockaddr) int {
	t.Helper()
	fd := socketFor(t, 0, to)
	deaf := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: 1, Filter: &deaf[0]}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
		t.Fatalf("connect: %v", err)
	}
	return fd
}

func hear(t *testing.T, fd int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		t.Fatal(err)
	}
}

// TestLastPacketOfAHandshakeAtAFullQueueCountsTwice: the namespace counts that
// packet once, the listener twice.
func TestLastPacketOfAHandshakeAtAFullQueueCountsTwice(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 1)
	late := halfOpen(t, addressOf(t, fd))
	fill(t, fd, 2)
	w := newDropWitness(t, fd)
	hear(t, late) // a second later the client sends its SYN again, or the listener its answer
	var dropped uint32
	var since Counters
	eventually(t, "the handshake ends in vain", func() bool {
		drops, counted := w.read()
		dropped, since = drops-w.drops, counted.Since(w.counted)
		return since.ListenOverflows > 0 && uint64(dropped) >= 2*since.ListenOverflows
	})
	// The SYN that is sent again is one more, see below.
	if n := uint64(dropped); n > 2*since.ListenOverflows+1 {
		t.Errorf("dropped %d, want twice as many as %d overflows", dropped, since.ListenOverflows)
	}
	if since.ListenDrops != since.ListenOverflows {
		t.Errorf("%+v, want as many drops as overflows", since)
	}
}

// TestDiscardedIsNotDropped has the listener's own counter move while its queue
// is empty. The namespace's counters do not.
func TestDiscardedIsNotDropped(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, client int){
		"a SYN is sent again":      func(*testing.T, int) {},
		"a reset in the handshake": abort,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 1)
			w := newDropWitness(t, fd)
			end(t, halfOpen(t, addressOf(t, fd)))
			if got := w.sees(1); got != (Counters{}) { // after a second
				t.Errorf("%+v, want nothing", got)
			}
		})
	}
}

// TestTooManyHalfOpenConnections: the limit of half-open connections is the
// backlog as well. With SYN cookies nothing is dropped there.
func TestTooManyHalfOpenConnections(t *testing.T) {
	t.Parallel()
	for cookies, want := range map[string]Counters{
		"0": {ListenDrops: 1, ReqQFullDrop: 1},
		"1": {SyncookiesSent: 1, ReqQFullDoCookies: 1},
	} {
		t.Run("cookies "+cookies, func(t *testing.T) {
			t.Parallel()
			ownNamespace(t)
			sysctl(t, "ipv4/tcp_syncookies", cookies)
			fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 4)
			for range 5 {
				halfOpen(t, addressOf(t, fd))
			}
			w := newDropWitness(t, fd)
			halfOpen(t, addressOf(t, fd))
			eventually(t, "the sixth SYN arrives", func() bool {
				_, c := w.read()
				return c.ReqQFullDrop+c.ReqQFullDoCookies > 0
			})
			if got := w.sees(uint32(want.ListenDrops)); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}
