package load

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A sample is one request that ended: 12 bytes.
type sample struct {
	due        uint32 // 100 microseconds since the start of the run: lasts 119 hours
	latency    uint32 // microseconds: lasts 71 minutes
	generation uint16 // position in generations; 0: none
	failure    uint8  // position in failureKinds plus one; 0: OK
}

const dueUnit = 100 * time.Microsecond

func newSample(due, latency time.Duration) sample {
	return sample{
		due:     uint32(min(max(due, 0)/dueUnit, math.MaxUint32)),
		latency: uint32(min(max(latency, 0)/time.Microsecond, math.MaxUint32)),
	}
}

func (s sample) begin() time.Duration    { return time.Duration(s.due) * dueUnit }
func (s sample) duration() time.Duration { return time.Duration(s.latency) * time.Microsecond }
func (s sample) end() time.Duration      { return s.begin() + s.duration() }

const (
	recorderShards = 8
	chunkSamples   = 4096
)

// A recorder keeps every sample, because what it belongs to (the time after an
// event) may become known only later. Its shards are chosen at random, so that
// those who record seldom meet.
type recorder struct {
	shards [recorderShards]struct {
		mu     sync.Mutex
		chunks [][]sample
		_      [64]byte // keeps two locks out of one cache line
	}
}

func (r *recorder) add(s sample) {
	shard := &r.shards[rand.Uint32N(recorderShards)]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	last := len(shard.chunks) - 1
	if last < 0 || len(shard.chunks[last]) == chunkSamples {
		shard.chunks = append(shard.chunks, make([]sample, 0, chunkSamples))
		last++
	}
	shard.chunks[last] = append(shard.chunks[last], s)
}

// all returns the samples in the order in which they were due.
func (r *recorder) all() []sample {
	var all []sample
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		for _, chunk := range shard.chunks {
			all = append(all, chunk...)
		}
		shard.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.due, b.due) })
	return all
}

// since returns the samples that ended at from or later.
func (r *recorder) since(from time.Duration) []sample {
	var recent []sample
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		recent = appendSince(recent, shard.chunks, from)
		shard.mu.Unlock()
	}
	return recent
}

// disorder is how much later than a request another one may be recorded that
// ended before it.
const disorder = 50 * time.Millisecond

func appendSince(recent []sample, chunks [][]sample, from time.Duration) []sample {
	for _, chunk := range slices.Backward(chunks) {
		for _, s := range slices.Backward(chunk) {
			if s.end() >= from {
				recent = append(recent, s)
			} else if s.end() < from-disorder {
				return recent
			}
		}
	}
	return recent
}

// maxGenerations bounds the memory that a server can make generations take.
const maxGenerations = 10_000

// generations numbers the names that responses carry. The zero value is ready.
type generations struct {
	mu      sync.RWMutex
	numbers map[string]uint16
	names   []string
}

// number returns the number of a name, 0 for none and for too many.
func (g *generations) number(name string) uint16 {
	if name == "" {
		return 0
	}
	g.mu.RLock()
	n, ok := g.numbers[name]
	g.mu.RUnlock()
	if ok {
		return n
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, ok := g.numbers[name]; ok || len(g.names) >= maxGenerations {
		return n
	}
	if g.numbers == nil {
		g.numbers, g.names = map[string]uint16{}, []string{""}
	}
	n = uint16(len(g.names))
	g.numbers[name], g.names = n, append(g.names, name)
	return n
}

// name is the inverse of number.
func (g *generations) name(n uint16) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.names[n]
}
