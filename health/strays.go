package health

import "time"

// strays takes out of the drop counters what was not dropped for want of room.
//
// The kernel counts every packet that a listener discards (sk_drops_add in
// tcp_drop, net/ipv4/tcp_input.c): also a RST or FIN that belongs to no
// connection, the RST of whoever gives up a handshake, as a scan or a half-open
// health check does, and with TCP_DEFER_ACCEPT each handshake's own bare ACK.
// Anybody may send these, and nobody has lost anything. What was dropped for
// want of room, or of memory, is counted a second time in ListenDrops of the
// network namespace (tcp_listendrop). So a counter that moves while ListenDrops
// does not has counted strays. While other listeners of the namespace drop,
// strays cannot be told from losses, and count.
//
// Not for concurrent use.
type strays struct {
	// near says which listeners are of the namespace whose counter is read.
	near []bool
	// read returns ListenDrops; ok is false if it cannot be had, and then
	// everything counts.
	read func() (drops uint64, ok bool)

	begun bool
	seen  []uint32 // the listeners' counters, as the kernel has them
	taken []uint32 // by how much each moved without a loss
	// last is ListenDrops of the latest read, at the time readAt, and before that
	// of the read before. A loss between a look at a listener and that read is
	// seen on the listener a look later.
	last, before uint64
	readAt       time.Duration
}

// strayRead is the longest time between two reads, so that what others dropped
// is soon forgotten.
const strayRead = time.Second

func newStrays(near []bool, read func() (uint64, bool)) *strays {
	return &strays{near: near, read: read, seen: make([]uint32, len(near)), taken: make([]uint32, len(near))}
}

// sift changes the drop counters of the samples, which were taken at at, so that
// they only move for losses. It leaves alone what failed.
func (s *strays) sift(at time.Duration, samples []Sample, failed func(i int) error) {
	moved := false
	for i := range samples {
		moved = moved || failed(i) == nil && s.near[i] && samples[i].Drops != s.seen[i]
	}
	lost := true
	if moved || !s.begun || at-s.readAt >= strayRead {
		lost = s.look(at)
	}
	for i := range samples {
		if failed(i) != nil || !s.near[i] {
			continue
		}
		by := samples[i].Drops - s.seen[i]
		s.seen[i] = samples[i].Drops
		if !lost && by > 0 {
			s.taken[i] += by
		}
		samples[i].Drops -= s.taken[i]
	}
}

// look reads ListenDrops and reports whether it moved, as far as is known.
func (s *strays) look(at time.Duration) bool {
	drops, ok := s.read()
	if !ok {
		return true
	}
	lost := s.begun && drops != s.before
	if !s.begun {
		s.begun, s.last, lost = true, drops, true
	}
	s.before, s.last, s.readAt = s.last, drops, at
	return lost
}
