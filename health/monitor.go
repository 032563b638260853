package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed tells that a Monitor was closed.
var ErrClosed = errors.New("the monitor is closed")

const (
	// restfulHeadroom is how long a queue must last for it to be looked at less
	// often while others decide.
	restfulHeadroom = 10 * time.Second
	// recentMemory is for how long a drop makes it unwise to deploy.
	recentMemory = 5 * time.Second
	// countGap is how long the arrivals are estimated without a new count.
	countGap = 250 * time.Millisecond
)

// A Monitor looks at accept queues again and again, in one goroutine, and
// shows what it sees to whoever follows. It looks often only while somebody
// does. The drops that it tells of were for want of room, or of memory: stray
// packets, which the kernel counts as well, are taken out as far as possible.
// All methods may be called concurrently.
type Monitor struct {
	cfg     MonitorConfig  // its listeners, and the next two, are of the goroutine, which changes them under mu
	index   map[string]int // of the listeners, by name
	sampler *Sampler
	started time.Time
	strays  *strays
	netstat *Netstat // nil if the namespace's counters cannot be had
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // of one element: somebody wants a look now
	changes chan change   // of the listeners
	over    chan struct{} // closed when there are no more looks
	diver   *diver

	// Of the goroutine only:
	samples    []Sample
	mayRest    []bool
	heads      []head
	emptyAt    []time.Duration // when a queue was seen empty last
	sampleCost cost
	failing    bool
	shared     []shared

	mu           sync.Mutex
	closed       bool
	observations []Observation
	looks        []look // in the order of the listeners
	recent       *Recent
	generations  map[int]*tallies
	strangers    map[int]bool  // that have not said yet what they did before the start
	counted      time.Duration // when a count came last
	second       time.Duration // when the looks' seconds ended last
	followers    map[*follower]struct{}
	watchers     map[*Tally]struct{}
}

// head is the oldest connection of one queue, as far as it was looked at.
type head struct {
	age   time.Duration
	known bool
}

// shared is how a listener was, which all who hold it can change.
type shared struct {
	listening bool
	limit     uint32
}

// look is what the Monitor remembers of one listener.
type look struct {
	drops    uint64 // since the start
	last     uint32 // the kernel's counter
	seen     bool
	accepted uint64 // by all generations that ever reported
	arrivals Rate
	growth   Growth
	waiting  Waiting
	waitedAt time.Duration
	history  history
	seconds  seconds
}

// NewMonitor starts to look. It borrows the descriptors until Close. Listeners
// whose queues cannot be seen are left out, which Trouble is told.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	cfg = cfg.withDefaults()
	sampler, err := cfg.visible()
	if err != nil {
		return nil, fmt.Errorf("cannot watch the accept queues: %w", err)
	}
	if refused := sampler.diag.refused; refused != nil {
		cfg.Trouble(fmt.Errorf("cannot see for how long connections wait to be accepted: %w; allow AF_NETLINK (systemd: RestrictAddressFamilies=)", refused))
	}
	n := len(cfg.Listeners)
	names, limits, index := make([]string, n), make([]Limits, n), make(map[string]int, n)
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		l.Limits = l.Limits.WithDefaults()
		names[i], limits[i], index[l.Name] = l.Name, l.Limits, i
	}
	m := &Monitor{
		cfg: cfg, index: index, started: time.Now(), sampler: sampler, wake: make(chan struct{}, 1),
		changes: make(chan change), over: make(chan struct{}),
		samples: make([]Sample, n), mayRest: make([]bool, n), heads: make([]head, n), emptyAt: make([]time.Duration, n), shared: make([]shared, n),
		observations: make([]Observation, n), looks: make([]look, n),
		recent:      NewRecent(names, limits, recentMemory),
		generations: map[int]*tallies{},
		followers:   map[*follower]struct{}{}, watchers: map[*Tally]struct{}{},
	}
	for i := range m.looks {
		m.looks[i].history = newHistory(n)
		m.observations[i].Listening, m.shared[i].listening = true, true // until it was looked at
	}
	m.goOn(cfg.Earlier)
	if m.diver, err = newDiver(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot watch the accept queues: %w", err), sampler.Close())
	}
	m.sift()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.observe(m.now())
	m.diver.start(m.now, m.wake)
	m.running.Go(func() { m.run(ctx) })
	return m, nil
}

// sift makes m.strays, so that only losses count as drops.
func (m *Monitor) sift() {
	near := make([]bool, len(m.sampler.sockets))
	for i := range near {
		near[i] = m.sampler.near(&m.sampler.sockets[i])
	}
	var err error
	if m.netstat, err = OpenNetstat(); err != nil {
		m.netstat = nil
		m.cfg.Trouble(fmt.Errorf("cannot tell stray packets from drops: %w", err))
	}
	m.strays = newStrays(near, func() (uint64, bool) {
		if m.netstat == nil {
			return 0, false
		}
		counters, err := m.netstat.Read()
		return counters.ListenDrops, err == nil
	})
}

// Close ends the Monitor; when it returns, the descriptors are not used any
// more. Whoever follows gets ErrClosed. It may be called more than once.
func (m *Monitor) Close() error {
	m.cancel()
	m.running.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	for f := range m.followers {
		f.end(ErrClosed)
	}
	clear(m.followers)
	errs := []error{m.sampler.Close(), m.diver.close()}
	if m.netstat != nil {
		errs = append(errs, m.netstat.Close())
	}
	return errors.Join(errs...)
}

// Now is the present moment in the terms of Observation.At.
func (m *Monitor) Now() time.Duration { return m.now() }

func (m *Monitor) now() time.Duration { return time.Since(m.started) }

func (m *Monitor) run(ctx context.Context) {
	defer close(m.over)
	timer := time.NewTimer(m.cfg.Idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		case c := <-m.changes:
			c.done <- m.change(c.listeners)
		}
		timer.Reset(m.observe(m.now()))
	}
}

// observe looks once and returns when to look again.
func (m *Monitor) observe(at time.Duration) time.Duration {
	m.sampler.rest(m.mayRest)
	err := m.sampler.Sample(m.samples)
	m.strays.sift(at, m.samples, m.sampler.Err)
	for i := range m.samples {
		if m.sampler.Err(i) != nil { // it means nothing
			m.samples[i] = m.observations[i].Sample
		}
	}
	m.sampleCost.add(m.now() - at)
	err = errors.Join(err, m.lookInside(at))
	m.report(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(at)
	m.show(at)
	return max(m.pause(), m.sampleCost.pause(m.cfg.SampleShare))
}

// lookInside finds out how old the heads of the queues are. It takes what the
// diver has brought, follows that for as long as it lasts, and sends the diver
// again where it does not; but not for a queue that was seen empty less than its
// target ago, which cannot stand: the diver's time is for one that may.
func (m *Monitor) lookInside(at time.Duration) error {
	err := m.diver.bring()
	dive := false
	for i, s := range m.samples {
		m.heads[i] = head{known: s.Depth == 0}
		if s.Depth == 0 {
			m.diver.forget(i)
			m.emptyAt[i] = at
			continue
		}
		if !m.sampler.seesInside(i) {
			continue
		}
		failed := m.follow(i)
		err = errors.Join(err, failed)
		mayStand := at-m.emptyAt[i] >= m.cfg.Listeners[i].Limits.Target
		dive = dive || mayStand && (!m.heads[i].known || at-m.diver.at[i] >= glanceAge)
	}
	if dive {
		m.diver.send(at, m.samples)
	}
	return err
}

// follow takes the head from the line that the diver brought. A queue that he
// found empty, in this moment, has none.
func (m *Monitor) follow(i int) error {
	if m.diver.fresh[i] && m.diver.waiting[i].Known && m.diver.waiting[i].Count == 0 {
		m.heads[i].known = true
		return nil
	}
	var err error
	m.diver.lines[i], m.heads[i].age, m.heads[i].known, err = m.sampler.head(m.diver.lines[i])
	return err
}

// report tells of looks that fail, once until all succeed again, and of what
// somebody did to a listener.
func (m *Monitor) report(err error) {
	if err != nil && !m.failing {
		m.cfg.Trouble(err)
	}
	m.failing = err != nil
	for i, s := range m.samples {
		was := m.shared[i]
		switch name := m.cfg.Listeners[i].Name; {
		case !s.Listening && was.listening:
			m.cfg.Trouble(fmt.Errorf("listener %s does not listen any more", name))
		case s.Listening && was.listening && s.Limit < was.limit:
			m.cfg.Trouble(fmt.Errorf("the limit of listener %s was lowered from %d to %d", name, was.limit, s.Limit))
		}
		m.shared[i] = shared{s.Listening, s.Limit}
	}
}

// take turns the samples into observations. Where one failed, the last
// observation has to do; its time tells how old it is.
func (m *Monitor) take(at time.Duration) {
	estimate := at-m.counted >= countGap && len(m.generations) > 0
	if estimate {
		m.counted = at
	}
	for i := range m.samples {
		if m.sampler.Err(i) != nil {
			continue
		}
		l, s := &m.looks[i], m.samples[i]
		if l.seen {
			l.drops += uint64(s.Drops - l.last)
		}
		l.last, l.seen = s.Drops, true
		if estimate {
			l.arrivals.Observe(at, l.accepted+uint64(s.Depth))
		}
		o := Observation{At: at, Sample: s, Arrivals: l.arrivals.PerSecond(), Head: m.heads[i].age, HeadKnown: m.heads[i].known}
		l.waiting, l.waitedAt = m.diver.waiting[i], m.diver.at[i]
		l.growth.Observe(at, s.Depth)
		l.history.add(o, l.drops)
		m.observations[i] = o
		m.mayRest[i] = len(m.followers) > 0 && restful(o)
	}
	m.recent.Observe(m.observations)
	for t := range m.watchers {
		t.observe(m)
	}
	if at-m.second >= time.Second {
		m.second = at
		m.endSecond(at)
	}
}

// restful reports whether nothing can happen to a queue within a few looks: it
// is empty, and hardly anybody comes.
func restful(o Observation) bool {
	headroom, some := o.Headroom()
	return o.Depth == 0 && o.Arrivals >= 0 && (!some || headroom >= restfulHeadroom)
}

// pause is how long the next look may wait.
func (m *Monitor) pause() time.Duration {
	wanted := m.cfg.Idle
	if len(m.watchers) > 0 {
		wanted = min(wanted, m.cfg.Tallied)
	}
	for f := range m.followers {
		wanted = min(wanted, f.every)
	}
	if len(m.followers) == 0 {
		return wanted
	}
	for _, o := range m.observations {
		wanted = min(wanted, m.patience(o))
	}
	return max(wanted, m.cfg.Quickest)
}

// patience is how long a queue may be left alone: a tenth of the time in which
// it could fill, and no time at all if that is not known of one that is filling.
func (m *Monitor) patience(o Observation) time.Duration {
	if headroom, ok := o.Headroom(); ok {
		return headroom / 10
	}
	if o.Depth > o.Limit/8 {
		return m.cfg.Quickest
	}
	return m.cfg.Idle
}
