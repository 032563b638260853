package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
)

// statsInterval is how often a busy generation of a service with so many
// listeners reports: often enough for the gate, and not so often that long
// reports cost much.
func statsInterval(listeners int) time.Duration {
	return max(50*time.Millisecond, time.Duration(listeners)*time.Millisecond)
}

// queues are the accept queues of the listeners, and what is known of them. Its
// methods may be called concurrently, but for change.
type queues struct {
	trouble func(error)

	mu      sync.Mutex
	watch   *health.Monitor // nil if no listener has a queue
	closed  bool
	netstat *health.Netstat // nil if it cannot be read, or not any more
	start   health.Counters // when the supervisor started
}

// queueTotals are what queues have counted, for the supervisor that goes on.
type queueTotals struct {
	health.Totals
	// Start are the counters of the network namespace when the first supervisor
	// started; nil if they are not known.
	Start *health.Counters `json:"start,omitempty"`
}

// watchQueues starts to look at the accept queues of the listeners, whose
// descriptors it borrows until close, and goes on from what was counted earlier.
// trouble is told what is wrong.
func watchQueues(all []fdpass.Listener, earlier queueTotals, cfg config.Config, log *slog.Logger, trouble func()) (*queues, error) {
	q := &queues{trouble: func(err error) {
		log.Warn("looking at the accept queues", "error", err)
		trouble()
	}}
	streams := streamsAmong(all, cfg)
	if len(streams) == 0 {
		return q, nil
	}
	var err error
	q.watch, err = health.NewMonitor(health.MonitorConfig{Listeners: streams, Earlier: earlier.Totals, Trouble: q.trouble})
	if err != nil {
		return nil, err
	}
	if err := q.openNetstat(earlier.Start); err != nil {
		log.Warn("cannot tell the counters of the network namespace", "error", err)
	}
	return q, nil
}

// streamsAmong are the listeners that have a queue, each with its limits. Of two by
// one name, of which one takes the place of the other, it is the first.
func streamsAmong(all []fdpass.Listener, cfg config.Config) []health.Listener {
	var streams []health.Listener
	for _, l := range all {
		known := slices.ContainsFunc(streams, func(s health.Listener) bool { return s.Name == l.Name })
		if hasQueue(l.Network) && !known {
			streams = append(streams, health.Listener{Name: l.Name, FD: l.FD, Limits: cfg.Limits(l.Name)})
		}
	}
	return streams
}

// change has these listeners looked at, whose descriptors are borrowed from now
// on; when it returns those of the others are not used any more.
func (q *queues) change(all []fdpass.Listener, cfg config.Config) error {
	streams, now := streamsAmong(all, cfg), q.monitor()
	switch {
	case now != nil && len(streams) > 0:
		return now.Change(streams)
	case now != nil:
		q.use(nil)
		return now.Close()
	case len(streams) > 0:
		next, err := health.NewMonitor(health.MonitorConfig{Listeners: streams, Trouble: q.trouble})
		if err == nil && !q.use(next) {
			err = next.Close()
		}
		return errors.Join(err, q.openNetstat(nil))
	}
	return nil
}

// use sets the monitor; false if there is to be none any more.
func (q *queues) use(m *health.Monitor) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.watch = m
	}
	return !q.closed
}

// monitor is nil if no listener has a queue.
func (q *queues) monitor() *health.Monitor {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.watch
}

func (q *queues) openNetstat(start *health.Counters) error {
	netstat, err := health.OpenNetstat()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.netstat != nil || q.closed {
		return netstat.Close()
	}
	if q.start, err = netstat.Read(); err != nil {
		return errors.Join(err, netstat.Close())
	}
	if start != nil {
		q.start = *start
	}
	q.netstat = netstat
	return nil
}

// totals are what was counted so far.
func (q *queues) totals() queueTotals {
	var t queueTotals
	if m := q.monitor(); m != nil {
		t.Totals = m.Totals()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.netstat != nil {
		start := q.start
		t.Start = &start
	}
	return t
}

// hasQueue reports whether connections wait in a queue there.
func hasQueue(network string) bool {
	return strings.HasPrefix(network, "tcp") || network == "unix" || network == "unixpacket"
}

// close stops looking: then the descriptors are not used any more. It does
// nothing to no queues at all.
func (q *queues) close() error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var errs []error
	if q.watch != nil {
		errs = append(errs, q.watch.Close())
	}
	if q.netstat != nil {
		errs = append(errs, q.netstat.Close())
		q.netstat = nil
	}
	return errors.Join(errs...)
}

// counted takes what a generation reports; nil is its end.
func (q *queues) counted(generation int, stats []fdpass.ListenerStats) {
	monitor := q.monitor()
	if monitor == nil {
		return
	}
	if stats == nil {
		monitor.Forget(generation)
		return
	}
	counts := make([]health.Count, len(stats))
	for i, s := range stats {
		counts[i] = health.Count{
			Listener: s.Name, Accepted: s.Accepted, Finished: finished(s), Active: s.Active,
			Durations: s.Durations, Sojourn: s.Sojourn,
		}
	}
	monitor.Count(generation, counts)
}

// finished is how many connections are closed and how many requests answered.
func finished(s fdpass.ListenerStats) uint64 {
	closed := s.Accepted - min(uint64(max(s.Active, 0)), s.Accepted)
	return closed + s.Answered
}

// Figures are the latest, one for each listener that has a queue.
func (q *queues) Figures() []health.Figures {
	if m := q.monitor(); m != nil {
		return m.Figures()
	}
	return nil
}

// Tally begins to add up what is seen of every listener.
func (q *queues) Tally() queue.Tally {
	if m := q.monitor(); m != nil {
		return tally{m.Tally()}
	}
	return tally{}
}

// Counters are those of the network namespace since the supervisor's start.
func (q *queues) Counters() (health.Counters, bool) {
	now, ok := q.namespace()
	q.mu.Lock()
	defer q.mu.Unlock()
	return now.Since(q.start), ok
}

// namespace are the same since the beginning of the namespace.
func (q *queues) namespace() (health.Counters, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.netstat == nil {
		return health.Counters{}, false
	}
	now, err := q.netstat.Read()
	return now, err == nil
}

// tally is a health.Tally as package queue wants it; nil of no queues.
type tally struct{ all *health.Tally }

func (t tally) Take() []queue.Extremes {
	if t.all == nil {
		return nil
	}
	taken := t.all.Take()
	extremes := make([]queue.Extremes, len(taken))
	for i, x := range taken {
		extremes[i] = queue.Extremes{Listener: x.Name, MaxDepth: x.MaxDepth, MaxHead: x.MaxHead, HeadKnown: x.HeadKnown, Drops: x.Drops}
	}
	return extremes
}

func (t tally) Close() {
	if t.all != nil {
		t.all.End()
	}
}
