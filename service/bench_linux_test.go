package service

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAccept connects to, accepts from and closes at a bare listener and
// the service's: as it is, without the sojourn, and as if the queue stood, when
// the sojourn of each connection is read. In "paired" they take turns with every
// connection, and the medians are compared: the pace of a busy machine changes
// by more from one second to the next than they differ.
func BenchmarkAccept(b *testing.B) {
	f := supervise(b, tcpPort("x"))
	bare, err := fileListener(f.listeners[0].FD)
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	without, with, standing := benchListener(b, f), benchListener(b, f), benchListener(b, f)
	with.readSojourns()
	standing.readSojourns()
	read := standing.sojourn.read
	standing.sojourn.read = func(c *net.TCPConn) (time.Duration, bool) {
		d, ok := read(c)
		return d + time.Millisecond, ok
	}
	addr := &unix.SockaddrInet4{Port: f.addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	kinds := []struct {
		name string
		net.Listener
	}{{"bare", bare}, {"service", with}, {"nosojourn", without}, {"standing", standing}}
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				acceptOne(b, addr, kind.Listener)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
		})
	}
	b.Run("paired", func(b *testing.B) {
		times := make([][]time.Duration, len(kinds))
		for b.Loop() {
			for i, kind := range kinds {
				start := time.Now()
				acceptOne(b, addr, kind.Listener)
				times[i] = append(times[i], time.Since(start))
			}
		}
		var bare float64
		for i, kind := range kinds {
			slices.Sort(times[i])
			median := float64(times[i][len(times[i])/2])
			b.ReportMetric(median, kind.name+"-ns")
			if i == 0 {
				bare = median
				continue
			}
			b.ReportMetric(100*(median-bare)/bare, kind.name+"-%slower")
		}
	})
}

func benchListener(b *testing.B, f *fakeSupervisor) *listener {
	b.Helper()
	l, err := listenerOf(f.listeners[0].FD)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// BenchmarkSojourn reads the sojourn of one accepted connection, as is done for
// each while the queue stands.
func BenchmarkSojourn(b *testing.B) {
	f := supervise(b, tcpPort("x"))
	l := benchListener(b, f)
	client, err := net.Dial("tcp", f.addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	c, err := l.inner.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := newSojournReader(l.inner)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.read(c.(*net.TCPConn)); !ok {
			b.Fatal("no sojourn")
		}
	}
}

// acceptOne connects with bare system calls: on the loopback device the
// connection waits in the queue when connect(2) returns. The client resets it,
// so that no port is kept.
func acceptOne(b *testing.B, to unix.Sockaddr, l net.Listener) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Connect(fd, to); err != nil {
		b.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	c.Close()
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}
