package health

import "time"

// A Tally keeps the extremes of all queues from its beginning on, or since they
// were taken last. Its methods may be called concurrently, also after the
// Monitor was closed.
type Tally struct {
	monitor *Monitor
	began   time.Duration
	base    []uint64 // the drops at the beginning
	all     []Tallied
	drops   []uint64 // when they were taken last
}

// Tallied are the extremes of one queue.
type Tallied struct {
	Name            string
	Limit, MaxDepth uint32
	// MaxHead is the greatest age of a waiting connection that was seen; only
	// if HeadKnown, that is if one was.
	MaxHead   time.Duration
	HeadKnown bool
	// Drops is by how much the drop counter moved: packets, not connections.
	// Only if DropsKnown.
	DropsKnown bool
	Drops      uint64
}

// Sampled is one of the latest looks at a queue.
type Sampled struct {
	// At counts from the beginning of the Tally.
	At        time.Duration
	Depth     uint32
	Head      time.Duration
	HeadKnown bool
	// Drops counts from the beginning of the Tally.
	Drops uint64
}

// Tally begins one. It costs something with every look, until End.
func (m *Monitor) Tally() *Tally {
	t := &Tally{monitor: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.began = m.now()
	t.reset()
	t.base = t.drops
	m.watchers[t] = struct{}{}
	m.nudge()
	return t
}

// change has the tally go on with other listeners: from says at which place one
// was before, or -1. Of a new one it begins now.
func (t *Tally) change(from []int) {
	m := t.monitor
	fresh := func(i int) uint64 { return m.looks[i].drops }
	t.base, t.drops = moved(from, t.base, fresh), moved(from, t.drops, fresh)
	t.all = moved(from, t.all, func(i int) Tallied {
		return Tallied{Name: m.cfg.Listeners[i].Name, DropsKnown: m.sampler.counts(i)}
	})
}

// reset begins anew with the latest observations.
func (t *Tally) reset() {
	m := t.monitor
	t.all, t.drops = make([]Tallied, len(m.looks)), make([]uint64, len(m.looks))
	for i := range m.looks {
		t.all[i].Name, t.all[i].DropsKnown = m.cfg.Listeners[i].Name, m.sampler.counts(i)
		t.drops[i] = m.looks[i].drops
	}
	t.observe(m)
}

func (t *Tally) observe(m *Monitor) {
	for i, o := range m.observations {
		a := &t.all[i]
		a.Limit = o.Limit
		a.MaxDepth = max(a.MaxDepth, o.Depth)
		if o.HeadKnown && o.Depth > 0 { // an empty queue says nothing of how long others waited
			a.HeadKnown = true
			a.MaxHead = max(a.MaxHead, o.Head)
		}
		a.Drops = m.looks[i].drops - t.drops[i]
	}
}

// Take returns the extremes, in the order of the listeners, and begins anew.
func (t *Tally) Take() []Tallied {
	t.monitor.mu.Lock()
	defer t.monitor.mu.Unlock()
	taken := t.all
	t.reset()
	return taken
}

// Samples returns the looks at one listener since the beginning, but not those
// that are older than last, and of very many every so-manieth. There are none of a
// listener that is not looked at any more.
func (t *Tally) Samples(name string, last time.Duration) []Sampled {
	m := t.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	listener, ok := m.index[name]
	if !ok {
		return nil
	}
	return m.looks[listener].history.since(max(t.began, m.now()-last), t.began, t.base[listener])
}

// End ends the Tally.
func (t *Tally) End() {
	t.monitor.mu.Lock()
	defer t.monitor.mu.Unlock()
	delete(t.monitor.watchers, t)
}
