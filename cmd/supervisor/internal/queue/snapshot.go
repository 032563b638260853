// Package queue shows accept queues: those of a running supervisor, and every
// one of a network namespace.
//
// It guarantees that a figure that is not known is never shown as zero: it is
// "-" in text, null or absent in JSON. What is shown is made by pure functions
// from figures of package health; only Screen touches a terminal.
package queue

import (
	"slices"
	"strings"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// A Snapshot is what a supervisor knows of its accept queues at one moment.
// Its fields are as docs/control-api.md describes them; nil is not known.
type Snapshot struct {
	Time      time.Time  `json:"time"`
	Service   string     `json:"service"`
	Listeners []Listener `json:"listeners"`
	// Namespace counts since the supervisor's start, for the whole network
	// namespace.
	Namespace *Counters `json:"namespace,omitempty"`
}

// A Listener is one listener of a Snapshot.
type Listener struct {
	Name    string `json:"name"`
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`
	Queue
	// P99Seconds is longer than 99 % of the connections accepted in the last
	// seconds had waited.
	P99Seconds        *float64 `json:"sojourn_p99_seconds"`
	DropsPerSecond    *float64 `json:"drops_per_second"`
	ArrivalsPerSecond *float64 `json:"arrivals_per_second"`
	HeadroomSeconds   *float64 `json:"headroom_seconds"`
	// FullInSeconds is there only while the queue grows.
	FullInSeconds *float64 `json:"full_in_seconds,omitempty"`
	// Off: no decision looks at this listener.
	Off         bool         `json:"off,omitempty"`
	Generations []Generation `json:"generations,omitempty"`

	// What was seen since the previous snapshot of a stream.
	MaxDepth         *uint32  `json:"max_depth,omitempty"`
	MaxOldestSeconds *float64 `json:"max_oldest_seconds,omitempty"`
	NewDrops         *uint64  `json:"new_drops,omitempty"`

	Trouble []Trouble `json:"trouble,omitempty"`
}

// A Queue is what is known of any accept queue.
type Queue struct {
	Depth *uint32 `json:"depth"`
	Limit *uint32 `json:"limit"`
	// Fill is the part of the places that is taken: depth / (limit + 1).
	Fill          *float64 `json:"fill"`
	OldestSeconds *float64 `json:"oldest_seconds"`
	// Drops counts packets, not connections.
	Drops *uint64 `json:"drops"`
}

// A Generation is what one generation did with a listener.
type Generation struct {
	Generation       int      `json:"generation"`
	Accepted         uint64   `json:"accepted"`
	AcceptsPerSecond *float64 `json:"accepts_per_second"`
	Active           int64    `json:"active"`
}

// Counters are those of package health as JSON has them.
type Counters struct {
	ListenOverflows  uint64 `json:"listen_overflows"`
	ListenDrops      uint64 `json:"listen_drops"`
	CookiesSent      uint64 `json:"syncookies_sent"`
	CookiesReceived  uint64 `json:"syncookies_received"`
	CookiesFailed    uint64 `json:"syncookies_failed"`
	SYNQueueDrops    uint64 `json:"syn_queue_drops"`
	SYNQueueCookies  uint64 `json:"syn_queue_cookies"`
	ConnectionsTaken uint64 `json:"passive_opens"`
}

// NewSnapshot puts together what is known of listeners at a moment; figures
// that are of none of them are left out. ns may be nil.
func NewSnapshot(service string, at time.Time, figures []health.Figures, listeners []upgrade.ListenerStatus, ns *health.Counters) Snapshot {
	s := Snapshot{Time: at, Service: service, Listeners: make([]Listener, 0, len(listeners)), Namespace: newCounters(ns)}
	for _, status := range listeners {
		l := Listener{Name: status.Name, Network: status.Network, Address: status.Address}
		if i := slices.IndexFunc(figures, func(f health.Figures) bool { return f.Name == status.Name }); i >= 0 {
			l.take(figures[i])
		}
		s.Listeners = append(s.Listeners, l)
	}
	return s
}

// take fills in l, which has its name and address, from figures.
func (l *Listener) take(f health.Figures) {
	o := f.Observation
	seen := o != health.Observation{}
	l.Off = f.Limits.Off
	l.Queue = newQueue(o.Sample, seen)
	l.OldestSeconds = oldest(f)
	if seen && f.DropsKnown {
		l.Drops = &f.Drops
		l.DropsPerSecond = rate(f.DropsPerSecond)
	}
	if seen {
		l.ArrivalsPerSecond = rate(o.Arrivals)
	}
	if headroom, ok := o.Headroom(); ok && o.Listening {
		l.HeadroomSeconds = seconds(headroom, true)
	}
	l.P99Seconds = seconds(f.SojournP99, f.SojournKnown)
	l.FullInSeconds = seconds(f.FullIn, f.Growing)
	for _, g := range f.Generations {
		l.Generations = append(l.Generations, Generation{g.Generation, g.Accepted, rate(g.AcceptsPerSecond), g.Active})
	}
	if seen {
		l.Trouble = troubleOf(l, f.Limits, o.Listening)
	}
}

// newQueue tells depth and limit; a socket that does not listen has neither.
func newQueue(s health.Sample, seen bool) Queue {
	if !seen || !s.Listening {
		return Queue{}
	}
	fill := float64(s.Depth) / (float64(s.Limit) + 1)
	return Queue{Depth: &s.Depth, Limit: &s.Limit, Fill: &fill}
}

// oldest is how long the oldest connection has waited.
func oldest(f health.Figures) *float64 {
	d, known := f.Oldest()
	return seconds(d, known && f.Observation.Listening)
}

// countsDrops reports whether the kernel counts what it drops for such a
// listener: for Unix sockets it does not.
func countsDrops(network string) bool { return !strings.HasPrefix(network, "unix") }

func newCounters(c *health.Counters) *Counters {
	if c == nil {
		return nil
	}
	return &Counters{
		ListenOverflows: c.ListenOverflows, ListenDrops: c.ListenDrops,
		CookiesSent: c.SyncookiesSent, CookiesReceived: c.SyncookiesRecv, CookiesFailed: c.SyncookiesFailed,
		SYNQueueDrops: c.ReqQFullDrop, SYNQueueCookies: c.ReqQFullDoCookies, ConnectionsTaken: c.PassiveOpens,
	}
}

// seconds is d as JSON has it, if it is known.
func seconds(d time.Duration, known bool) *float64 {
	if !known {
		return nil
	}
	s := d.Seconds()
	return &s
}

// rate is r per second, if it is known: package health has a negative one until
// then.
func rate(r float64) *float64 {
	if r < 0 {
		return nil
	}
	return &r
}
