package health

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// room raises the number of descriptors that the process may have.
func room(b *testing.B, descriptors uint64) {
	b.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Cur >= descriptors {
		return
	}
	if limit.Max < descriptors {
		b.Skipf("takes %d descriptors, the hard limit is %d", descriptors, limit.Max)
	}
	raised := unix.Rlimit{Cur: descriptors, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		b.Skipf("takes %d descriptors: %v", descriptors, err)
	}
	b.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
}

func BenchmarkSample(b *testing.B) {
	for _, listeners := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			room(b, uint64(listeners)+100)
			ownNamespace(b)
			fds := make([]int, listeners)
			for i := range fds {
				fds[i] = listen(b, unix.IPPROTO_TCP, v4(1, 0), 5)
			}
			s, into := sampler(b, fds...), make([]Sample, listeners)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Sample(into); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(listeners), "ns/listener")
		})
	}
}

// BenchmarkSampleAskingTheKernel has the listeners that no getsockopt(2) tells
// enough of.
func BenchmarkSampleAskingTheKernel(b *testing.B) {
	for name, listener := range map[string]func(b *testing.B) int{
		"unix":  func(b *testing.B) int { return listen(b, 0, &unix.SockaddrUnix{Name: "@"}, 5) },
		"MPTCP": func(b *testing.B) int { return listen(b, unix.IPPROTO_MPTCP, v4(1, 0), 5) },
	} {
		b.Run(name, func(b *testing.B) {
			ownNamespace(b)
			s, into := sampler(b, listener(b)), make([]Sample, 1)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Sample(into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWaiting(b *testing.B) {
	for _, accepted := range []int{0, 1000, 8000} {
		b.Run(fmt.Sprintf("queued=50/accepted=%d", accepted), func(b *testing.B) {
			room(b, uint64(2*accepted)+200)
			ownNamespace(b)
			fd := listen(b, unix.IPPROTO_TCP, v4(1, 0), 100)
			s, into, want := sampler(b, fd), make([]Waiting, 1), []bool{true}
			for range accepted {
				connect(b, addressOf(b, fd))
				depthBecomes(b, s, 0, 1)
				connection, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { unix.Close(connection) })
			}
			for i := range 50 {
				connect(b, addressOf(b, fd))
				depthBecomes(b, s, 0, uint32(i+1))
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Waiting(into, want); err != nil || into[0].Count != 50 {
					b.Fatalf("%+v, error %v", into, err)
				}
			}
		})
	}
}

func BenchmarkNetstat(b *testing.B) {
	n, err := OpenNetstat()
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNamespaceListeners(b *testing.B) {
	for _, listeners := range []int{10, 1000} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			room(b, uint64(listeners)+100)
			ownNamespace(b)
			for range listeners {
				listen(b, unix.IPPROTO_TCP, v4(1, 0), 5)
			}
			b.ReportAllocs()
			for b.Loop() {
				if all, err := NamespaceListeners(); err != nil || len(all) != listeners {
					b.Fatalf("%d, error %v", len(all), err)
				}
			}
		})
	}
}
