package health

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkMonitor runs a Monitor with a follower that looks each 5 ms, at
// listeners with empty queues, and with three connections in each of ten. It
// reports what that takes of one core, to be woken included, and what of it is
// spent on samples.
func BenchmarkMonitor(b *testing.B) {
	for _, listeners := range []int{1, 100, 1000} {
		for _, busy := range []int{0, 10} {
			b.Run(fmt.Sprintf("listeners=%d/busy=%d", listeners, min(busy, listeners)), func(b *testing.B) {
				benchmarkMonitor(b, listeners, busy)
			})
		}
	}
}

func benchmarkMonitor(b *testing.B, listeners, busy int) {
	all := make([]Listener, listeners)
	for i := range all {
		fd, address := listenRaw(b, 128)
		all[i] = Listener{Name: fmt.Sprint(i), FD: fd}
		if i < busy {
			connectTo(b, address, 3)
		}
	}
	m := monitorOf(b, MonitorConfig{Listeners: all})
	for range 2 { // nobody comes to those that are not busy
		counts := make([]Count, listeners)
		for i := range counts {
			counts[i] = Count{Listener: all[i].Name}
		}
		m.Count(1, counts)
	}
	began, before := time.Now(), cpuTime(b)
	looks := 0
	for b.Loop() {
		end := m.now() + time.Second
		if err := m.Follow(b.Context(), 5*time.Millisecond, func(v View) bool {
			looks++
			return v.At >= end
		}); err != nil {
			b.Fatal(err)
		}
	}
	elapsed, used := time.Since(began), cpuTime(b)-before
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(100*used.Seconds()/elapsed.Seconds(), "%core")
	b.ReportMetric(100*m.sampleCost.total.Seconds()/elapsed.Seconds(), "%sampling")
	b.ReportMetric(float64(looks)/elapsed.Seconds(), "looks/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMonitorAmongConnections has a queue in which 50 connections wait, each
// for 50 ms, at a listener with many accepted ones. It reports which part of the
// time one thread was busy to look into the queue, and how often the head was
// known.
func BenchmarkMonitorAmongConnections(b *testing.B) {
	for _, accepted := range []int{0, 1000, 8000} {
		b.Run(fmt.Sprintf("accepted=%d", accepted), func(b *testing.B) {
			room(b, uint64(2*accepted)+500)
			ownNamespace(b)
			fd, address := listenRaw(b, 128)
			take := func() int {
				for {
					c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
					if err == nil {
						return c
					}
					if err != unix.EAGAIN {
						b.Fatal(err)
					}
				}
			}
			to := addressOf(b, fd)
			for range accepted {
				connect(b, to)
				c := take()
				b.Cleanup(func() { unix.Close(c) })
			}
			var waiting []net.Conn
			for range 50 {
				waiting = append(waiting, dial(b, address))
			}
			m := monitorOf(b, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}})
			began, looks, known := time.Now(), 0, 0
			for b.Loop() {
				end := m.now() + time.Second
				done := make(chan error, 1)
				go func() {
					done <- m.Follow(context.Background(), 5*time.Millisecond, func(v View) bool {
						looks++
						if v.Observations[0].HeadKnown {
							known++
						}
						return v.At >= end
					})
				}()
				for running := true; running; {
					select {
					case <-done:
						running = false
					case <-time.After(time.Millisecond):
						unix.Close(take())
						waiting[0].Close()
						waiting = append(waiting[1:], dial(b, address))
					}
				}
			}
			elapsed := time.Since(began)
			for _, c := range waiting {
				c.Close()
			}
			if err := m.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(100*m.diver.cost.total.Seconds()/elapsed.Seconds(), "%looking-inside")
			b.ReportMetric(float64(looks)/elapsed.Seconds(), "looks/s")
			b.ReportMetric(100*float64(known)/float64(looks), "%known")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func dial(b *testing.B, address string) net.Conn {
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
