package health

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A change is the wish for other listeners.
type change struct {
	listeners []Listener
	done      chan error // of one element
}

// Change has the Monitor look at these listeners from now on, which it borrows as
// NewMonitor does. One that it has looked at already, the same socket by the same
// name, keeps all that is known of it, and gets the limits that are given. When it
// returns, the descriptors of the others are not used any more. If it fails, all
// is as it was. After Close it returns ErrClosed.
func (m *Monitor) Change(listeners []Listener) error {
	c := change{slices.Clone(listeners), make(chan error, 1)}
	select {
	case m.changes <- c:
		return <-c.done
	case <-m.over:
		return ErrClosed
	}
}

// change is Change in the Monitor's own goroutine.
func (m *Monitor) change(listeners []Listener) error {
	cfg := m.cfg
	cfg.Listeners = listeners
	sampler, err := cfg.visible()
	if err != nil {
		return fmt.Errorf("cannot watch other accept queues: %w", err)
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].Limits = cfg.Listeners[i].Limits.WithDefaults()
	}
	diver, err := newDiver(cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot watch other accept queues: %w", err), sampler.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.places(cfg.Listeners, sampler)
	if err := errors.Join(m.sampler.Close(), m.diver.close()); err != nil { // he uses descriptors until then
		cfg.Trouble(err)
	}
	diver.goOnFrom(m.diver, from)
	diver.start(m.now, m.wake)
	m.cfg, m.sampler, m.diver = cfg, sampler, diver
	m.move(from)
	return nil
}

// places says for each listener at which place it was before; -1 for a new one.
func (m *Monitor) places(listeners []Listener, sampler *Sampler) []int {
	from := make([]int, len(listeners))
	for i, l := range listeners {
		was, known := m.index[l.Name]
		if !known || m.sampler.sockets[was].inode != sampler.sockets[i].inode {
			was = -1
		}
		from[i] = was
	}
	return from
}

// move brings all that is known of the listeners to their new places.
func (m *Monitor) move(from []int) {
	n := len(from)
	names, limits := make([]string, n), make([]Limits, n)
	m.index = make(map[string]int, n)
	for i, l := range m.cfg.Listeners {
		names[i], limits[i], m.index[l.Name] = l.Name, l.Limits, i
	}
	m.samples, m.mayRest, m.heads = make([]Sample, n), make([]bool, n), make([]head, n)
	m.emptyAt = moved(from, m.emptyAt, nil)
	m.shared = moved(from, m.shared, func(int) shared { return shared{listening: true} })
	m.observations = moved(from, m.observations, func(int) Observation { return Observation{Sample: Sample{Listening: true}} })
	m.looks = moved(from, m.looks, func(int) look { return look{history: newHistory(n)} })
	m.recent.change(names, limits, from)
	m.strays.change(m.sampler, from)
	for _, g := range m.generations {
		g.counts, g.rates = moved(from, g.counts, nil), moved(from, g.rates, nil)
	}
	for f := range m.followers {
		f.only.find(m.index)
	}
	for t := range m.watchers {
		t.change(from)
	}
}

// moved is all with each element at its new place, and a fresh one where there
// was none; fresh nil stands for the zero value.
func moved[T any](from []int, all []T, fresh func(i int) T) []T {
	next := make([]T, len(from))
	for i, was := range from {
		switch {
		case was >= 0:
			next[i] = all[was]
		case fresh != nil:
			next[i] = fresh(i)
		}
	}
	return next
}

// goOnFrom takes over what another one has brought.
func (d *diver) goOnFrom(before *diver, from []int) {
	d.next, d.cost = before.next, before.cost
	d.waiting, d.at, d.lines = moved(from, before.waiting, nil), moved(from, before.at, nil), moved(from, before.lines, nil)
}

// change has it go on with the listeners of another Sampler.
func (s *strays) change(sampler *Sampler, from []int) {
	s.near = make([]bool, len(from))
	for i := range s.near {
		s.near[i] = sampler.near(&sampler.sockets[i])
	}
	s.seen, s.taken = moved(from, s.seen, nil), moved(from, s.taken, nil)
}

// A selection is some of a Monitor's listeners, by name; nil is all of them.
type selection struct {
	names []string
	at    []int // their places; -1: not there
	shown []Observation
}

// find finds out where they are.
func (s *selection) find(index map[string]int) {
	if s == nil {
		return
	}
	s.at, s.shown = make([]int, len(s.names)), make([]Observation, len(s.names))
	for i, name := range s.names {
		at, ok := index[name]
		if !ok {
			at = -1
		}
		s.at[i] = at
	}
}

// of are their observations, valid until the next call.
func (s *selection) of(all []Observation, at time.Duration) []Observation {
	if s == nil {
		return all
	}
	for i, place := range s.at {
		if place >= 0 {
			s.shown[i] = all[place]
		} else {
			s.shown[i] = atRest(at)
		}
	}
	return s.shown
}

// atRest is what there is to see of a listener to which nobody comes.
func atRest(at time.Duration) Observation {
	return Observation{At: at, Sample: Sample{Listening: true, Limit: math.MaxInt32}, Arrivals: -1, HeadKnown: true}
}
