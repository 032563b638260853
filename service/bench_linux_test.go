package service

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAccept connects to, accepts from and closes at a bare listener and
// the service's. In "paired" they take turns with every connection, and the
// medians are compared: the pace of a busy machine changes by more from one
// second to the next than the two differ.
func BenchmarkAccept(b *testing.B) {
	f := supervise(b, tcpPort("x"))
	bare, err := fileListener(f.listeners[0].FD)
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	own, err := listenerOf(f.listeners[0].FD)
	if err != nil {
		b.Fatal(err)
	}
	defer own.Close()
	addr := &unix.SockaddrInet4{Port: f.addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for _, kind := range []struct {
		name string
		net.Listener
	}{{"bare", bare}, {"service", own}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				acceptOne(b, addr, kind.Listener)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
		})
	}
	b.Run("paired", func(b *testing.B) {
		var times [2][]time.Duration
		for b.Loop() {
			for i, l := range []net.Listener{bare, own} {
				start := time.Now()
				acceptOne(b, addr, l)
				times[i] = append(times[i], time.Since(start))
			}
		}
		var median [2]float64
		for i := range times {
			slices.Sort(times[i])
			median[i] = float64(times[i][len(times[i])/2])
		}
		b.ReportMetric(median[0], "bare-ns")
		b.ReportMetric(median[1], "service-ns")
		b.ReportMetric(100*(median[1]-median[0])/median[0], "%slower")
	})
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
