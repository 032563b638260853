package service

import (
	"sync"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// statsAtLeast is for how long the statistics of a listener on which nothing
	// happens are left out.
	statsAtLeast = time.Second
	// statsPacket is the least time from one packet of statistics to the next,
	// on average: the supervisor ends the channel of a child that sends a
	// thousand messages in a second.
	statsPacket = 10 * time.Millisecond
)

// A reporter sends the statistics of the listeners: those that have changed at
// every tick, the others once a second. It may be used concurrently.
type reporter struct {
	tell func(fdpass.Message)

	mu        sync.Mutex
	listeners []reported
	notBefore time.Time // since much was sent lately
}

// reported is a listener and what was last said of it.
type reported struct {
	*endpoint
	last counts
	at   time.Time // zero: nothing yet
}

func newReporter(endpoints []*endpoint, tell func(fdpass.Message)) *reporter {
	r := &reporter{tell: tell, listeners: make([]reported, len(endpoints))}
	for i, e := range endpoints {
		r.listeners[i].endpoint = e
	}
	return r
}

// news sends what has changed or was left out for long, and reports whether
// anything had changed, or could not be looked at yet. The next call comes after
// interval.
func (r *reporter) news(interval time.Duration) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.notBefore) {
		return true
	}
	r.send(now, func(l *reported) bool {
		differs := l.counts() != l.last
		changed = changed || differs
		return differs || l.isDue(now, interval)
	})
	return changed
}

// all sends everything, for what it says is final.
func (r *reporter) all() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(time.Now(), func(*reported) bool { return true })
}

// send sends the listeners that are wanted. The lock stays held, so that no
// older figures follow newer ones.
func (r *reporter) send(now time.Time, wanted func(*reported) bool) {
	var s fdpass.Stats
	for i := range r.listeners {
		l := &r.listeners[i]
		if !wanted(l) {
			continue
		}
		stats := l.stats()
		l.last = counts{accepted: stats.Accepted, answered: stats.Answered, active: stats.Active}
		l.at = now
		s.Listeners = append(s.Listeners, stats)
	}
	if s.Listeners == nil {
		return
	}
	parts := s.Split()
	for _, part := range parts {
		r.tell(part)
	}
	r.notBefore = now.Add(time.Duration(len(parts)) * statsPacket)
}

// isDue reports whether the listener, left out now, would be left out for too
// long. Ticks come a little early or late.
func (l *reported) isDue(now time.Time, interval time.Duration) bool {
	return l.at.IsZero() || now.Sub(l.at)+interval > statsAtLeast+20*time.Millisecond
}
