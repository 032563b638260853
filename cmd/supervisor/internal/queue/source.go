package queue

import (
	"fmt"
	"slices"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

const (
	// DefaultInterval is the pause between two snapshots of a stream.
	DefaultInterval = 250 * time.Millisecond
	// MinInterval is the shortest.
	MinInterval = 10 * time.Millisecond
	// MaxInterval is the longest.
	MaxInterval = time.Hour
)

// A Source tells what a supervisor observes. Its methods may be called
// concurrently.
type Source interface {
	// Figures are the latest, one for each listener that has a queue.
	Figures() []health.Figures
	// Tally begins to add up; the caller closes it.
	Tally() Tally
	// Counters are those of the network namespace since the supervisor's start;
	// ok is false if they cannot be read.
	Counters() (c health.Counters, ok bool)
}

// A Tally adds up what is seen of every listener, so that nothing is missed
// between two snapshots. It is used by one goroutine.
type Tally interface {
	// Take returns what was seen since the last call, and begins anew.
	Take() []Extremes
	Close()
}

// Extremes are what was seen of one listener in some time.
type Extremes struct {
	Listener string
	// MaxDepth is the greatest depth, MaxHead the greatest age of a waiting
	// connection, if one was looked at.
	MaxDepth  uint32
	MaxHead   time.Duration
	HeadKnown bool
	// Drops is by how much the drop counter moved.
	Drops uint64
}

// A View makes snapshots of one supervisor's queues. Its methods may be called
// concurrently.
type View struct {
	Service   string
	Listeners func() []upgrade.ListenerStatus
	Source    Source
}

// Snapshot is what is known now.
func (v View) Snapshot() Snapshot { return v.snapshot(v.Source.Figures()) }

func (v View) snapshot(figures []health.Figures) Snapshot {
	var ns *health.Counters
	if c, ok := v.Source.Counters(); ok {
		ns = &c
	}
	return NewSnapshot(v.Service, time.Now(), figures, v.Listeners(), ns)
}

// Stream begins a series of snapshots; the caller closes it.
func (v View) Stream() *Stream { return &Stream{view: v, tally: v.Source.Tally()} }

// A Stream is a series of snapshots, each with what was seen since the one
// before. It is used by one goroutine.
type Stream struct {
	view  View
	tally Tally
	begun bool
}

// Next is the next snapshot; the first tells of its own moment only.
func (s *Stream) Next() Snapshot {
	extremes, figures := s.tally.Take(), s.view.Source.Figures()
	next := s.view.snapshot(figures)
	if s.begun {
		next.add(figures, extremes)
	}
	s.begun = true
	return next
}

// Close ends the stream.
func (s *Stream) Close() { s.tally.Close() }

// add tells what was seen since the snapshot before.
func (s *Snapshot) add(figures []health.Figures, extremes []Extremes) {
	for i := range s.Listeners {
		l := &s.Listeners[i]
		f := slices.IndexFunc(figures, func(f health.Figures) bool { return f.Name == l.Name })
		e := slices.IndexFunc(extremes, func(e Extremes) bool { return e.Listener == l.Name })
		if f >= 0 && e >= 0 && l.Depth != nil {
			l.since(extremes[e])
			l.Trouble = troubleOf(l, figures[f].Limits, true)
		}
	}
}

// since adds e; the present is a part of the time that it is about.
func (l *Listener) since(e Extremes) {
	greatest := max(e.MaxDepth, *l.Depth)
	l.MaxDepth = &greatest
	l.MaxOldestSeconds = seconds(e.MaxHead, e.HeadKnown)
	if now := l.OldestSeconds; now != nil && (l.MaxOldestSeconds == nil || *now > *l.MaxOldestSeconds) {
		l.MaxOldestSeconds = now
	}
	if l.Drops != nil {
		l.NewDrops = &e.Drops
	}
}

// CheckInterval refuses an interval that is out of bounds.
func CheckInterval(d time.Duration) error {
	if d < MinInterval || d > MaxInterval {
		return fmt.Errorf("must be from %v to %v: %v", MinInterval, MaxInterval, d)
	}
	return nil
}
