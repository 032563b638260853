package health

import "slices"

// Totals are what a Monitor has counted that nobody would tell another one
// again.
type Totals struct {
	// Drops are by how much the drop counters moved, by listener.
	Drops map[string]uint64 `json:"drops,omitempty"`
	// Counts are what generations said last. What one did until then is no news to
	// the Monitor that goes on. For one of which nothing is known that is what it
	// says first.
	Counts map[int][]Count `json:"counts,omitempty"`
}

// Totals returns what was counted so far.
func (m *Monitor) Totals() Totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := Totals{Drops: map[string]uint64{}, Counts: map[int][]Count{}}
	for i, l := range m.looks {
		t.Drops[m.cfg.Listeners[i].Name] = l.drops
	}
	for n, g := range m.generations {
		for _, c := range g.counts {
			if c.Listener != "" { // it has said something of it
				t.Counts[n] = append(t.Counts[n], c)
			}
		}
	}
	return t
}

// goOn begins with what another Monitor has counted. What was dropped between
// its last look and the first of this one is not known.
func (m *Monitor) goOn(t Totals) {
	m.strangers = map[int]bool{}
	for i := range m.looks {
		l := &m.looks[i]
		l.drops = t.Drops[m.cfg.Listeners[i].Name]
		for second := range l.seconds.ends {
			l.seconds.ends[second].drops = l.drops
		}
	}
	for n, counts := range t.Counts {
		if len(counts) == 0 {
			m.strangers[n] = true
			continue
		}
		m.start(n, counts)
	}
}

// start begins to count what a generation does, from counts on.
func (m *Monitor) start(generation int, counts []Count) *tallies {
	g := &tallies{counts: make([]Count, len(m.looks)), rates: make([]Rate, len(m.looks))}
	for _, c := range counts {
		if i, ours := m.index[c.Listener]; ours {
			c.Durations, c.Sojourn = slices.Clone(c.Durations), slices.Clone(c.Sojourn)
			g.counts[i] = c
		}
	}
	g.total = sumOf(g.counts)
	m.generations[generation] = g
	return g
}
