package health

import (
	"slices"
	"time"
)

// sojournSeconds is over how many seconds the sojourn of accepted connections
// is shown.
const sojournSeconds = 10

// tallies are what one generation has said.
type tallies struct {
	counts []Count // in the order of the listeners
	rates  []Rate
	total  Count         // of all listeners
	at     time.Duration // when it said so
}

// Count takes what a generation says of its listeners; those that are not the
// Monitor's are ignored. The slices are copied.
func (m *Monitor) Count(generation int, counts []Count) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.now()
	if m.strangers[generation] {
		m.start(generation, counts)
		delete(m.strangers, generation)
	}
	g := m.generations[generation]
	if g == nil {
		g = m.start(generation, nil)
	}
	m.counted = at
	for _, c := range counts {
		i, ours := m.index[c.Listener]
		if !ours {
			continue
		}
		l := &m.looks[i]
		if c.Accepted > g.counts[i].Accepted { // a generation that lies counts for nothing
			l.accepted += c.Accepted - g.counts[i].Accepted
		}
		l.addSojourn(c.Sojourn, g.counts[i].Sojourn)
		c.Durations, c.Sojourn = slices.Clone(c.Durations), slices.Clone(c.Sojourn)
		g.counts[i] = c
		g.rates[i].Observe(at, c.Accepted)
	}
	for i := range m.looks {
		m.looks[i].arrivals.Observe(at, m.looks[i].accepted+uint64(m.observations[i].Depth))
	}
	g.total, g.at = sumOf(g.counts), at
}

// Forget drops a generation that has ended.
func (m *Monitor) Forget(generation int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.generations, generation)
	delete(m.strangers, generation)
}

// sumOf adds up the counts of all listeners.
func sumOf(counts []Count) Count {
	var sum Count
	for _, c := range counts {
		sum.Accepted += c.Accepted
		sum.Finished += c.Finished
		sum.Active += c.Active
		sum.Durations = addBuckets(sum.Durations, c.Durations)
		sum.Sojourn = addBuckets(sum.Sojourn, c.Sojourn)
	}
	return sum
}

func addBuckets(sum, more []uint64) []uint64 {
	if len(more) > len(sum) {
		sum = append(sum, make([]uint64, len(more)-len(sum))...)
	}
	for i, n := range more {
		sum[i] += n
	}
	return sum
}

// seconds keeps what is shown as of the last seconds.
type seconds struct {
	ends    [sojournSeconds]secondsEnd // a ring
	next    int
	sojourn [SojournBuckets]uint64 // of all connections ever accepted
	known   bool                   // that it was said
}

// secondsEnd is how far the counters were at the end of a second.
type secondsEnd struct {
	at      time.Duration
	drops   uint64
	sojourn [SojournBuckets]uint64
}

func (l *look) addSojourn(now, before []uint64) {
	for i, n := range now {
		if i < len(before) {
			n -= min(n, before[i])
		}
		l.seconds.sojourn[min(i, SojournBuckets-1)] += n
		l.seconds.known = true
	}
}

func (m *Monitor) endSecond(at time.Duration) {
	for i := range m.looks {
		l := &m.looks[i]
		l.seconds.ends[l.seconds.next] = secondsEnd{at, l.drops, l.seconds.sojourn}
		l.seconds.next = (l.seconds.next + 1) % sojournSeconds
	}
	for _, g := range m.generations {
		for i := range g.rates {
			g.rates[i].Observe(at, g.counts[i].Accepted)
		}
	}
}

// dropsPerSecond is the rate over the last second and the present one.
func (l *look) dropsPerSecond(at time.Duration) float64 {
	last := l.seconds.ends[(l.seconds.next+sojournSeconds-2)%sojournSeconds]
	if at <= last.at {
		return 0
	}
	return float64(l.drops-last.drops) / (at - last.at).Seconds()
}

// sojournP99 is that of the connections accepted in the last seconds.
func (l *look) sojournP99() (time.Duration, bool) {
	if !l.seconds.known {
		return 0, false
	}
	var recent [SojournBuckets]uint64
	for i, n := range l.seconds.sojourn {
		recent[i] = n - l.seconds.ends[l.seconds.next].sojourn[i] // the oldest end
	}
	return Quantile(recent[:], 0.99)
}

// Figures returns what is known now, in the order of the listeners.
func (m *Monitor) Figures() []Figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Figures, len(m.looks))
	for i := range m.looks {
		l, o := &m.looks[i], m.observations[i]
		f := Figures{
			Name: m.cfg.Listeners[i].Name, Limits: m.cfg.Listeners[i].Limits, Observation: o,
			Waiting: l.waiting, WaitingAt: l.waitedAt,
			DropsKnown: m.sampler.counts(i), Drops: l.drops, DropsPerSecond: l.dropsPerSecond(o.At),
			Generations: m.generationFigures(i),
		}
		f.FullIn, f.Growing = l.growth.FullIn(o.Sample)
		f.SojournP99, f.SojournKnown = l.sojournP99()
		all[i] = f
	}
	return all
}

func (m *Monitor) generationFigures(listener int) []GenerationFigures {
	var all []GenerationFigures
	for n, g := range m.generations {
		c := g.counts[listener]
		all = append(all, GenerationFigures{
			Generation: n, Accepted: c.Accepted, Active: c.Active,
			AcceptsPerSecond: max(g.rates[listener].PerSecond(), 0), Sojourn: c.Sojourn,
		})
	}
	slices.SortFunc(all, func(a, b GenerationFigures) int { return a.Generation - b.Generation })
	return all
}
