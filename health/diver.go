package health

import (
	"context"
	"errors"
	"time"
)

// glanceAge is how old what is known of a whole queue may become while only its
// head is followed.
const glanceAge = 500 * time.Millisecond

// A diver looks into the queues, beside the Monitor's own goroutine: the depths
// must be looked at while it does, since where a service has very many
// connections one dive takes tens of milliseconds.
type diver struct {
	cancel  context.CancelFunc
	gone    chan struct{} // closed when he obeys no more orders
	share   float64       // of one core
	sampler *Sampler
	orders  chan order
	results chan result

	// Of the Monitor's goroutine:
	away    bool
	next    time.Duration // not before then
	cost    cost
	waiting []Waiting       // what was brought last
	at      []time.Duration // when it was looked at
	fresh   []bool          // it was brought just now
	lines   []line
}

// An order is to look into the queues that are wanted.
type order struct {
	at   time.Duration
	want []bool
}

type result struct {
	order
	waiting []Waiting
	lines   []line
	cost    time.Duration
	err     error
}

// newDiver makes one, who waits for start.
func newDiver(cfg MonitorConfig) (*diver, error) {
	sampler, err := samplerOf(cfg.Listeners)
	if err != nil {
		return nil, err
	}
	n := len(cfg.Listeners)
	return &diver{
		share: cfg.WaitingShare, sampler: sampler, orders: make(chan order, 1), results: make(chan result, 1),
		waiting: make([]Waiting, n), at: make([]time.Duration, n), fresh: make([]bool, n), lines: make([]line, n),
	}, nil
}

// start has him obey orders until close.
func (d *diver) start(now func() time.Duration, wake chan<- struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.gone = cancel, make(chan struct{})
	go func() { // close waits for it
		defer close(d.gone)
		d.run(ctx, now, wake)
	}()
}

// close returns when he uses no descriptor any more.
func (d *diver) close() error {
	if d.cancel != nil {
		d.cancel()
		<-d.gone
	}
	return d.sampler.Close()
}

// run obeys orders until ctx is done, and wakes the Monitor after each.
func (d *diver) run(ctx context.Context, now func() time.Duration, wake chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-d.orders:
			d.results <- d.dive(o, now()) // there is room: the next order comes only after it was taken
		}
		select {
		case wake <- struct{}{}:
		default: // it is about to look
		}
	}
}

func (d *diver) dive(o order, at time.Duration) result {
	r := result{order: order{at, o.want}, waiting: make([]Waiting, len(o.want)), lines: make([]line, len(o.want))}
	r.cost, r.err = d.sampler.Waiting(r.waiting, o.want)
	if r.err != nil {
		return r
	}
	for i := range r.lines {
		if o.want[i] && r.waiting[i].Known {
			r.lines[i] = d.sampler.line(i)
		}
	}
	return r
}

// send orders a dive into the queues that are not empty, if that is not too soon
// after the last one for its share.
func (d *diver) send(at time.Duration, samples []Sample) {
	if d.away || at < d.next {
		return
	}
	want := make([]bool, len(samples))
	for i, s := range samples {
		want[i] = s.Depth > 0
	}
	d.away = true
	d.orders <- order{at, want} // there is room: he is not away
}

// bring takes what the last dive brought, if it is over.
func (d *diver) bring() error {
	clear(d.fresh)
	var r result
	select {
	case r = <-d.results:
	default:
		return nil
	}
	d.away = false
	d.cost.add(r.cost)
	d.next = r.at + d.cost.pause(d.share)
	if r.err != nil {
		return errors.Join(errors.New("cannot look into the accept queues"), r.err)
	}
	for i, wanted := range r.want {
		if wanted {
			d.waiting[i], d.lines[i], d.at[i], d.fresh[i] = r.waiting[i], r.lines[i], r.at, true
		}
	}
	return nil
}

// forget is for a queue that is empty.
func (d *diver) forget(i int) {
	d.waiting[i], d.lines[i] = Waiting{Known: d.waiting[i].Known}, nil
}
