package health

import "math"

// A dropCount tells the packets that a client misses from the others that a
// listener discards. The counter of a listener (SK_MEMINFO_DROPS) moves for
// both: for a SYN that found the queue full, and for a SYN that was sent again
// while its handshake was under way, or a reset that ended one. The last two
// are everyday things on the open Internet, and so some load balancers check
// their servers. Of them the namespace's ListenDrops knows nothing, and each of
// its drops moves a listener's counter by no more than two (tcp_listendrop and
// tcp_v4_rcv in net/ipv4/tcp_ipv4.c; TestDiscardedIsNotDropped).
type dropCount struct {
	known      bool
	raw, noise uint32
}

// moved reports whether the listener's counter has moved to raw.
func (d *dropCount) moved(raw uint32) bool { return d.known && raw != d.raw }

// take takes the listener's counter and by how much the namespace's may have
// moved in the same time, and returns the counter less what was no drop.
func (d *dropCount) take(raw uint32, listenDrops uint64) uint32 {
	if d.known {
		delta := raw - d.raw
		d.noise += delta - uint32(min(uint64(delta), 2*min(listenDrops, math.MaxUint32)))
	}
	d.known, d.raw = true, raw
	return raw - d.noise
}

// A dropCounts does so for all listeners of the Sampler's network namespace.
// It reads the namespace's counters only when a listener's has moved.
type dropCounts struct {
	counts  []dropCount
	netstat *Netstat // nil if it could not be opened: then all count
	last    Counters
	// recent is by how much ListenDrops had grown when the previous samples
	// were taken. It counts once more: a drop may come between the reading of
	// its listener's counter and that of the namespace's.
	recent uint64
}

func newDropCounts(listeners int) dropCounts {
	d := dropCounts{counts: make([]dropCount, listeners)}
	netstat, err := OpenNetstat()
	if err != nil {
		return d
	}
	if d.last, err = netstat.Read(); err != nil {
		netstat.Close()
		return d
	}
	d.netstat = netstat
	return d
}

// listenDrops is what take wants to know.
func (d *dropCounts) listenDrops(moved bool) uint64 {
	if !moved {
		d.recent = 0
		return 0
	}
	if d.netstat == nil {
		return math.MaxUint32
	}
	now, err := d.netstat.Read()
	if err != nil {
		return math.MaxUint32
	}
	grown := now.Since(d.last).ListenDrops
	may := grown + d.recent
	d.last, d.recent = now, grown
	return may
}

func (d *dropCounts) close() error {
	if d.netstat == nil {
		return nil
	}
	return d.netstat.Close()
}
