package figures

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/upgrade"
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

// Wanted says by their names which listeners are meant.
type Wanted func(listener string) bool

// account sums up what wanted accept queues did: the most connections that
// waited in one, the longest that one was seen to wait, and the packets that
// were dropped of all. What is not known is nil.
func account(queues []upgrade.QueueAccount, wanted Wanted) (depth *uint32, sojournMS *float64, drops *uint64) {
	for _, q := range queues {
		if !wanted(q.Listener) {
			continue
		}
		depth = greatest(depth, q.MaxDepth)
		if q.MaxSojournSeconds != nil {
			sojournMS = greatest(sojournMS, *q.MaxSojournSeconds*1000)
		}
		if q.Drops != nil {
			sum := *q.Drops
			if drops != nil {
				sum += *drops
			}
			drops = &sum
		}
	}
	return depth, sojournMS, drops
}

func greatest[N uint32 | float64](so *N, n N) *N {
	if so != nil {
		n = max(n, *so)
	}
	return &n
}

// A QueueWatcher tells what a supervisor sees of its accept queues; a
// *control.Client is one.
type QueueWatcher interface {
	WatchQueue(ctx context.Context, interval time.Duration, each func(raw []byte, s queue.Snapshot) error) error
}

// A Tape records what the supervisor tells of its accept queue.
type Tape struct {
	started time.Time
	wanted  Wanted
	cancel  context.CancelFunc
	ended   chan struct{}

	// Read after ended.
	looks  []look
	limit  uint32
	before uint64 // drops that were counted before
	drops  uint64
	failed error
}

// A look is the greatest depth since the look before.
type look struct {
	at    time.Duration
	depth uint32
}

// Record begins a tape of the listeners that are wanted, whose times count from
// started. It must be stopped.
func Record(ctx context.Context, w QueueWatcher, wanted Wanted, started time.Time) *Tape {
	ctx, cancel := context.WithCancel(ctx)
	t := &Tape{started: started, wanted: wanted, cancel: cancel, ended: make(chan struct{})}
	go func() { // joined by Stop
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

// take notes what a snapshot tells: of several listeners the deepest queue, and
// the drops of all.
func (t *Tape) take(s queue.Snapshot) error {
	var deepest look
	var drops uint64
	known := false
	for _, l := range s.Listeners {
		if l.Depth == nil || !t.wanted(l.Name) {
			continue
		}
		depth := *l.Depth
		if l.MaxDepth != nil {
			depth = max(depth, *l.MaxDepth)
		}
		if l.Limit != nil && (!known || depth > deepest.depth) {
			t.limit = *l.Limit
		}
		if l.Drops != nil {
			drops += *l.Drops
		}
		known, deepest.depth = true, max(deepest.depth, depth)
	}
	if !known {
		return nil
	}
	if len(t.looks) == 0 {
		t.before = drops
	}
	if drops > t.before {
		t.drops = max(t.drops, drops-t.before)
	}
	deepest.at = max(0, s.Time.Sub(t.started))
	t.looks = append(t.looks, deepest)
	return nil
}

// Stop ends the tape and returns why it is not complete, if it is not.
func (t *Tape) Stop() error {
	t.cancel()
	<-t.ended
	if t.failed == nil && len(t.looks) == 0 {
		return errors.New("cannot record the accept queue: the supervisor did not tell its depth")
	}
	return t.failed
}

// Points are what was recorded, of a tape that has been stopped.
func (t *Tape) Points() []QueuePoint { return points(t.looks, tapePoints, tapeEvery) }

// Limit is what the queue was given; it holds one more. The tape has been
// stopped.
func (t *Tape) Limit() uint32 { return t.limit }

// Drops is how many packets of clients that want to connect the kernel dropped
// meanwhile. The tape has been stopped.
func (t *Tape) Drops() uint64 { return t.drops }

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

// Deepest is the greatest depth of the accept queue, by what was recorded and by
// what was seen of each thing that was done.
func Deepest(recorded []QueuePoint, done []Row) uint32 {
	var most uint32
	for _, p := range recorded {
		most = max(most, p.Depth)
	}
	for _, r := range done {
		if r.QueueMaxDepth != nil {
			most = max(most, *r.QueueMaxDepth)
		}
	}
	return most
}
