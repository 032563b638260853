package service

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// jiffy is the step in which the kernel tells ages.
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

// TestSojournOfKnownDelays holds the fact that tcpi_last_data_sent of a
// connection that was just accepted is how long it had waited, within a jiffy,
// whatever its client sent meanwhile. MPTCP connections tell it of their first
// subflow.
func TestSojournOfKnownDelays(t *testing.T) {
	t.Parallel()
	for _, multipath := range []bool{false, true} {
		l := listenAs(t, multipath)
		step := jiffy(t)
		for _, delay := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond} {
			before := l.conns.snapshot("x").Sojourn
			start := coarse(t)
			client := dialAs(t, l.Addr(), multipath)
			connected := coarse(t)
			wait(delay / 2)
			if _, err := client.Write([]byte("patience")); err != nil {
				t.Fatal(err)
			}
			wait(delay - delay/2)
			least := coarse(t) - connected
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			most := coarse(t) - start
			t.Cleanup(func() { c.Close() })
			if used, err := c.(*tcpConn).MultipathTCP(); multipath && !used {
				t.Logf("this kernel's connections are not MPTCP: %v", err)
			}
			got := grown(before, l.conns.snapshot("x").Sojourn)
			if first, last := durationBucket(least-step), durationBucket(most+step); len(got) != 1 || got[0] < first || got[0] > last {
				t.Errorf("multipath %v, %v to %v: buckets %v, want one from %d to %d", multipath, least, most, got, first, last)
			}
		}
	}
}

// grown returns the elements that have grown, each as often as it did. Trailing
// zeros may not be there.
func grown(before, after []uint64) (buckets []int) {
	before = append(slices.Clone(before), make([]uint64, len(after))...)
	for i := range after {
		buckets = append(buckets, slices.Repeat([]int{i}, int(after[i]-before[i]))...)
	}
	return buckets
}

// listenAs makes a listener as a service does, of an MPTCP one if the kernel
// has it and that is wanted.
func listenAs(t *testing.T, multipath bool) *listener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(multipath)
	bare, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	var l *listener
	var made error
	if err := withFD(bare.(*net.TCPListener), func(fd int) { l, made = listenerOf(fd) }); err != nil || made != nil {
		t.Fatal(err, made)
	}
	t.Cleanup(func() { l.Close() })
	l.readSojourns()
	return l
}

func dialAs(t *testing.T, a net.Addr, multipath bool) net.Conn {
	t.Helper()
	var dialer net.Dialer
	dialer.SetMultipathTCP(multipath)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := dialer.DialContext(ctx, "tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestSojournTravelsWithTheStatistics, of TCP listeners, unless it is switched
// off.
func TestSojournTravelsWithTheStatistics(t *testing.T) {
	t.Parallel()
	for _, without := range []bool{false, true} {
		f := supervise(t, tcpPort("tcp"), "unix=unix://"+filepath.Join(t.TempDir(), "s"), "udp=udp://127.0.0.1:0")
		f.stats = time.Hour
		c := f.start(Config{WithoutSojourn: without}, func(s *Service) error {
			if _, err := s.PacketConn("udp"); err != nil {
				return err
			}
			if err := s.Serve("unix", echo); err != nil {
				return err
			}
			return s.Serve("tcp", echo)
		})
		c.pause()
		waiting := dial(t, f.addr())
		wait(50 * time.Millisecond)
		c.resume()
		roundTrip(t, waiting)
		roundTrip(t, dial(t, &net.UnixAddr{Net: "unix", Name: f.listeners[1].Address}))
		c.pause()
		tcp, others := c.stats["tcp"].Sojourn, append(c.stats["unix"].Sojourn, c.stats["udp"].Sojourn...)
		if without {
			others = append(others, tcp...)
		} else if got := grown(make([]uint64, len(tcp)), tcp); len(got) != 1 || got[0] < durationBucket(40*time.Millisecond) {
			t.Errorf("50 ms in the queue are in buckets %v", got)
		}
		if len(others) != 0 || c.stats["unix"].Accepted != 1 {
			t.Errorf("without %v: %+v", without, c.stats)
		}
	}
}
