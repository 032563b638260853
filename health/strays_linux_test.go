package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDropCounterCountsStrays: nobody is lost, and yet the listener's counter
// moves; that of the namespace does not.
func TestDropCounterCountsStrays(t *testing.T) {
	ownNamespace(t)
	netstat, err := OpenNetstat()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netstat.Close(); err != nil {
			t.Error(err)
		}
	}()
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5); err != nil {
		t.Fatal(err)
	}
	s := sampler(t, fd)
	strays := newStrays([]bool{true}, func() (uint64, bool) {
		c, err := netstat.Read()
		return c.ListenDrops, err == nil
	})
	sifted := func(at time.Duration) uint32 {
		samples := sample(t, s)
		strays.sift(at, samples, s.Err)
		return samples[0].Drops
	}
	before := sifted(0)
	const clients = 5
	for range clients {
		connect(t, addressOf(t, fd)) // the kernel throws away the ACK that it waits no longer for
	}
	eventually(t, "the counter moves", func() bool { return sample(t, s)[0].Drops == clients })
	if after := sifted(time.Millisecond); after != before {
		t.Errorf("%d drops, but nothing was lost", after-before)
	}

	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	connect(t, addressOf(t, fd))
	knock(t, addressOf(t, fd)) // finds it full
	eventually(t, "the drop is seen", func() bool { return sifted(2*time.Millisecond) > before })
}
