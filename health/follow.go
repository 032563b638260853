package health

import (
	"context"
	"time"
)

// A View is what whoever follows a Monitor is shown. It is valid only during
// the call.
type View struct {
	// Observations are in the order of the Monitor's listeners, or of the names
	// that were given to FollowOnly.
	Observations []Observation
	// At is when they were made, but for those of listeners that could not be
	// looked at.
	At time.Duration

	monitor *Monitor
}

// Count is what a generation last said of all its listeners together; false if
// it has not said anything yet.
func (v View) Count(generation int) (Count, bool) {
	g := v.monitor.generations[generation]
	if g == nil {
		return Count{}, false
	}
	return g.total, true
}

// CountedSince reports whether a generation has said something since at.
func (v View) CountedSince(generation int, at time.Duration) bool {
	g := v.monitor.generations[generation]
	return g != nil && g.at >= at
}

// follower is somebody who follows.
type follower struct {
	every time.Duration
	see   func(View) bool
	only  *selection // nil: all listeners that there are
	done  chan struct{}
	err   error // read after done
}

func (f *follower) end(err error) {
	f.err = err
	close(f.done)
}

// Follow shows every look to see, from the first one that is made now and did
// not fail altogether, until it returns true or ctx is done, and looks at least
// every so often; more often where a queue is short of room. see is called by
// the Monitor's own goroutine: it must return soon and not call the Monitor.
// Follow returns after the last call: with nil if see returned true, with ctx's
// cause, or with ErrClosed.
//
// The listeners may be changed meanwhile, and so may their number: see FollowOnly.
func (m *Monitor) Follow(ctx context.Context, every time.Duration, see func(View) (done bool)) error {
	return m.attend(ctx, &follower{every: every, see: see, done: make(chan struct{})})
}

// FollowOnly is Follow of the listeners with these names: the observations are in
// their order, whatever Change does. One that is not there any more is shown as a
// listener at rest.
func (m *Monitor) FollowOnly(ctx context.Context, names []string, every time.Duration, see func(View) (done bool)) error {
	return m.attend(ctx, &follower{every: every, see: see, only: &selection{names: names}, done: make(chan struct{})})
}

func (m *Monitor) attend(ctx context.Context, f *follower) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	f.only.find(m.index)
	m.followers[f] = struct{}{}
	m.mu.Unlock()
	m.nudge()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.followers, f)
	select {
	case <-f.done: // just before
		return f.err
	default:
		return context.Cause(ctx)
	}
}

// nudge asks for a look now.
func (m *Monitor) nudge() {
	select {
	case m.wake <- struct{}{}:
	default: // it is about to look
	}
}

// show shows the observations to all who follow, unless none of them is new.
func (m *Monitor) show(at time.Duration) {
	if len(m.followers) == 0 || len(m.observations) > 0 && latest(m.observations) < at {
		return
	}
	for f := range m.followers {
		if f.see(View{Observations: f.only.of(m.observations, at), At: at, monitor: m}) {
			delete(m.followers, f)
			f.end(nil)
		}
	}
}

// Objection is what speaks against an upgrade at this moment: drops not long
// ago, or a queue that stands. The last look may be half a second old, and one
// look does not tell whether connections that wait too long do so all the time.
// So it looks anew, and where that leaves it open, for a little more than the
// longest of the intervals; the end of ctx cuts that short.
func (m *Monitor) Objection(ctx context.Context) (f Finding, objects bool) {
	f, objects = m.objection()
	ctx, cancel := context.WithTimeout(ctx, m.longestInterval()*5/4)
	defer cancel()
	_ = m.Follow(ctx, m.cfg.Quickest, func(View) bool { // whatever ends it, the latest objection counts
		f, objects = m.recent.Objection()
		return objects && f.Reason != ReasonStanding || m.recent.sure()
	})
	return f, objects
}

func (m *Monitor) objection() (Finding, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.Objection()
}

func (m *Monitor) longestInterval() time.Duration {
	longest := Limits{}.WithDefaults().Interval
	for _, l := range m.cfg.Listeners {
		longest = max(longest, l.Limits.Interval)
	}
	return longest
}

// Watched is how the listeners are to be judged from now on: by their limits
// and by how they are at this moment. Tolerant is as in Watched.
func (m *Monitor) Watched(tolerant bool) []Watched {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, baselines := make([]Watched, len(m.looks)), m.recent.Baselines()
	for i, l := range m.cfg.Listeners {
		all[i] = Watched{Name: l.Name, Limits: l.Limits, Baseline: baselines[i], Tolerant: tolerant}
	}
	return all
}
