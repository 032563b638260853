package service

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"example.com/supervisor/fdpass"
)

// durationBuckets is the number of elements of the histograms of durations. The
// last but one ends at 2^22 ms, 70 minutes.
const durationBuckets = 24

// A histogram counts durations; durationBucket says where.
type histogram [durationBuckets]uint64

// unknownSojourn is given for a connection whose sojourn nobody knows.
const unknownSojourn time.Duration = -1

// A registry knows the open connections of one listener and counts those that
// were. It is split into shards, each with a lock of its own and its
// connections in the order in which they were accepted; a connection costs two
// short critical sections in its life.
type registry struct {
	next     atomic.Uint32
	shards   []shard
	sojourns bool // the sojourn of its connections is known; set before the first
}

type shard struct {
	mu        sync.Mutex
	accepted  uint64
	active    int64
	answered  atomic.Uint64 // requests; not under mu
	durations histogram
	sojourn   histogram
	head      *tracked // the oldest
	tail      *tracked
	_         [64]byte // keeps shards out of each other's cache lines
}

func newRegistry() *registry {
	n := 1 << bits.Len(uint(min(runtime.GOMAXPROCS(0), 64)-1))
	return &registry{shards: make([]shard, n)}
}

// add registers a connection that was accepted at t.accepted. waited is its sojourn in
// the accept queue, or unknownSojourn.
func (r *registry) add(t *tracked, waited time.Duration) {
	s := &r.shards[int(r.next.Add(1))&(len(r.shards)-1)]
	t.shard = s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.active++
	if waited >= 0 {
		s.sojourn[durationBucket(waited)]++
	}
	t.prev = s.tail
	if s.tail != nil {
		s.tail.next = t
	} else {
		s.head = t
	}
	s.tail = t
}

// remove takes a closed connection out and notes how long it was open.
func (t *tracked) remove() {
	bucket := durationBucket(time.Since(t.accepted))
	s := t.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.durations[bucket]++
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		s.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		s.tail = t.prev
	}
	t.prev, t.next = nil, nil
}

// durationBucket is the i for which d < 2^i ms and not d < 2^(i-1) ms.
func durationBucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d.Milliseconds(), 0))), durationBuckets-1)
}

// open returns the connections that are open now.
func (r *registry) open() []*tracked { return r.appendOpen(nil) }

// appendOpen adds the connections that are open now to all.
func (r *registry) appendOpen(all []*tracked) []*tracked {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for t := s.head; t != nil; t = t.next {
			all = append(all, t)
		}
		s.mu.Unlock()
	}
	return all
}

// counts are the figures of a listener whose change is worth telling at once.
type counts struct {
	accepted, answered uint64
	active             int64
}

// counts adds up the shards.
func (r *registry) counts() (c counts) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		c.accepted += s.accepted
		c.active += s.active
		s.mu.Unlock()
		c.answered += s.answered.Load()
	}
	return c
}

// snapshot adds up the shards. Histograms end with their last element that is not
// zero.
func (r *registry) snapshot(name string) fdpass.ListenerStats {
	stats := fdpass.ListenerStats{Name: name, Durations: make([]uint64, durationBuckets)}
	if r.sojourns {
		stats.Sojourn = make([]uint64, durationBuckets)
	}
	var oldest time.Time
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		stats.Accepted += s.accepted
		stats.Active += s.active
		s.durations.addTo(stats.Durations)
		s.sojourn.addTo(stats.Sojourn)
		if s.head != nil && (oldest.IsZero() || s.head.accepted.Before(oldest)) {
			oldest = s.head.accepted
		}
		s.mu.Unlock()
		stats.Answered += s.answered.Load()
	}
	if !oldest.IsZero() {
		stats.OldestMS = fdpass.Milliseconds(time.Since(oldest))
	}
	stats.Durations = withoutZeros(stats.Durations, 0)
	stats.Sojourn = withoutZeros(stats.Sojourn, 1) // none would say that it is not known
	return stats
}

// withoutZeros leaves out trailing zeros, but for the first so many elements: of a
// thousand listeners they are most of what is said.
func withoutZeros(counts []uint64, least int) []uint64 {
	n := len(counts)
	for n > least && counts[n-1] == 0 {
		n--
	}
	return counts[:n]
}

// addTo adds the histogram to sums, which is as long or empty.
func (h *histogram) addTo(sums []uint64) {
	for i := range sums {
		sums[i] += h[i]
	}
}
