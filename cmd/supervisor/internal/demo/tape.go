package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
)

const (
	// tapeEvery is how often the supervisor is asked what it saw of the queue;
	// it looks more often itself.
	tapeEvery = 20 * time.Millisecond
	// tapePoints is how many points are kept of a run.
	tapePoints = 500
)

// A QueuePoint is the accept queue in one of equal stretches of the run.
type QueuePoint struct {
	// Seconds is the beginning of the stretch, from the start of the traffic.
	Seconds float64 `json:"seconds"`
	// Depth is the greatest number of connections that waited at a time.
	Depth uint32 `json:"depth"`
}

// A queueWatcher is a *control.Client.
type queueWatcher interface {
	WatchQueue(ctx context.Context, interval time.Duration, each func(raw []byte, s queue.Snapshot) error) error
}

// A tape records what the supervisor tells of its accept queue.
type tape struct {
	started time.Time
	cancel  context.CancelFunc
	ended   chan struct{}

	// Read after ended.
	looks  []look
	limit  uint32
	drops  uint64
	failed error
}

// A look is the greatest depth since the look before.
type look struct {
	at    time.Duration
	depth uint32
}

// record begins a tape, whose times count from started. It must be stopped.
func record(ctx context.Context, w queueWatcher, started time.Time) *tape {
	ctx, cancel := context.WithCancel(ctx)
	t := &tape{started: started, cancel: cancel, ended: make(chan struct{})}
	go func() { // joined by stop
		defer close(t.ended)
		err := w.WatchQueue(ctx, tapeEvery, func(_ []byte, s queue.Snapshot) error { return t.take(s) })
		switch {
		case ctx.Err() != nil:
			return // stopped, as it should be
		case err == nil:
			err = errors.New("the supervisor said no more")
		}
		t.failed = fmt.Errorf("cannot record the accept queue: %w", err)
	}()
	return t
}

// take notes what a snapshot tells.
func (t *tape) take(s queue.Snapshot) error {
	for _, l := range s.Listeners {
		if l.Name != listenerName || l.Depth == nil {
			continue
		}
		depth := *l.Depth
		if l.MaxDepth != nil {
			depth = max(depth, *l.MaxDepth)
		}
		if l.Limit != nil {
			t.limit = *l.Limit
		}
		if l.Drops != nil {
			t.drops = max(t.drops, *l.Drops)
		}
		t.looks = append(t.looks, look{max(0, s.Time.Sub(t.started)), depth})
		return nil
	}
	return nil
}

// stop ends the tape and returns why it is not complete, if it is not.
func (t *tape) stop() error {
	t.cancel()
	<-t.ended
	if t.failed == nil && len(t.looks) == 0 {
		return errors.New("cannot record the accept queue: the supervisor did not tell its depth")
	}
	return t.failed
}

// points sums looks up in at most most stretches of at least shortest. A look
// tells of all the time since the one before.
func points(looks []look, most int, shortest time.Duration) []QueuePoint {
	if len(looks) == 0 {
		return []QueuePoint{}
	}
	last := looks[len(looks)-1].at
	width := max(shortest, last/time.Duration(most)+1)
	all := make([]QueuePoint, last/width+1)
	for i := range all {
		all[i].Seconds = (time.Duration(i) * width).Seconds()
	}
	from := looks[0].at / width
	for _, l := range looks {
		to := l.at / width
		for i := min(from, to); i <= to; i++ { // the clock may have been set back
			all[i].Depth = max(all[i].Depth, l.depth)
		}
		from = to
	}
	return all
}
