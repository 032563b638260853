package load

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// noLimit is Config.Requests when there is no bound.
const noLimit = math.MaxUint64

// A Run is traffic being sent. Its methods may be called concurrently.
type Run struct {
	config      Config
	started     time.Time
	loops       []*loop
	leave       []func() // tell keep-alive clients that nothing more will be due
	pacer       *pacer
	generations generations

	stopOnce sync.Once
	stopping chan struct{} // closed: send no more
	done     chan struct{} // closed: every goroutine has ended
	sent     time.Duration // how long requests were sent; read after done

	mu     sync.Mutex
	events []Event

	reportOnce sync.Once
	report     Report
}

// Start begins a run. It ends by itself after Config.Duration or
// Config.Requests; Stop ends it before, and so does the end of ctx, which also
// cuts off the requests in flight. A run that has ended holds no goroutine and
// no descriptor.
func Start(ctx context.Context, config Config) (*Run, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start load: %w", err)
	}
	if err := raiseLimit(config.descriptors()); err != nil {
		return nil, fmt.Errorf("cannot start load: %w", err)
	}
	r := &Run{config: config.withDefaults(), stopping: make(chan struct{}), done: make(chan struct{})}
	for _, t := range r.config.Traffic {
		to, err := parseTarget(t.Target)
		if err == nil {
			to, err = to.resolve(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot start load: traffic %s: %w", t.Name, err)
		}
		r.loops = append(r.loops, newLoop(t, r.config, to, &r.generations))
	}
	var err error
	if r.pacer, err = newPacer(); err != nil {
		return nil, fmt.Errorf("cannot start load: %w", err)
	}
	r.started = time.Now()
	go r.run(ctx) // joined by done
	return r, nil
}

// cutOffAfter is how long after its last timeout a run is cut off. Only streams
// without end come to that.
const cutOffAfter = time.Second

// run sends the traffic and joins everything that it starts.
func (r *Run) run(parent context.Context) {
	defer close(r.done)
	defer r.pacer.close()
	ctx, abort := context.WithCancel(parent)
	var interrupter, requests sync.WaitGroup
	interrupter.Go(func() { r.interruptAt(ctx) })
	defer interrupter.Wait()
	defer abort()

	for _, l := range r.loops {
		l.started = r.started
		r.begin(ctx, l, &requests)
	}
	r.pacer.run(r.started.Add(r.config.Duration), r.config.Requests)
	r.sent = time.Since(r.started)
	r.stop()
	for _, leave := range r.leave {
		leave()
	}
	// Every request has a timeout of its own; this is for streams.
	limit := time.AfterFunc(r.config.Timeout+cutOffAfter, abort)
	defer limit.Stop()
	requests.Wait()
}

// begin starts the goroutines of a loop and its part in the pacer.
func (r *Run) begin(ctx context.Context, l *loop, requests *sync.WaitGroup) {
	switch l.Pattern {
	case NewConnection:
		r.pacer.add(r.started, l.Rate, l.newConnections(ctx, requests))
	case KeepAlive:
		for i := range l.Clients {
			// Spread, so that the clients do not knock in step.
			offset := time.Duration(float64(time.Second) / l.Rate * float64(i) / float64(l.Clients))
			r.pacer.add(r.started.Add(offset), l.Rate, r.client(ctx, l, requests))
		}
	case InFlight:
		for i := range l.Clients {
			requests.Go(func() { l.keepInFlight(ctx, r.stopping, time.Duration(i)*entrance) })
		}
	}
}

// client starts a client of KeepAlive and returns what the pacer calls for each
// of its requests.
func (r *Run) client(ctx context.Context, l *loop, requests *sync.WaitGroup) func(due time.Time) {
	if l.HTTP2 {
		k, over := &sharer{loop: l}, make(chan struct{})
		r.leave = append(r.leave, func() { close(over) })
		requests.Go(func() { k.run(over) })
		return k.fire(ctx)
	}
	k := newKeepAlive(l)
	r.leave = append(r.leave, func() { close(k.queue) })
	requests.Go(func() { k.run(ctx) })
	return k.fire
}

// interruptAt cuts everything off when ctx ends.
func (r *Run) interruptAt(ctx context.Context) {
	<-ctx.Done()
	r.stop()
	for _, l := range r.loops {
		l.dialer.interrupt()
	}
}

// stop ends the sending of requests.
func (r *Run) stop() {
	r.stopOnce.Do(func() {
		close(r.stopping)
		r.pacer.interrupt()
	})
}

// Done is closed when the run has ended, however that came.
func (r *Run) Done() <-chan struct{} { return r.done }

// Mark notes an event for the report; its Time is now when it is not set. It
// may be called until Stop.
func (r *Run) Mark(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// marked returns the events in the order of their times.
func (r *Run) marked() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := slices.Clone(r.events)
	slices.SortStableFunc(events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return events
}

// Stop sends no more requests, waits for those in flight (for Config.Timeout
// at most) and returns the report. Further calls return the same report.
func (r *Run) Stop() Report {
	r.stop()
	<-r.done
	r.reportOnce.Do(func() { r.report = r.summarize() })
	return r.report
}

// Due is how many requests were due by now, over all traffic. It is cheap.
func (r *Run) Due() uint64 {
	var due uint64
	for _, l := range r.loops {
		due += l.requests.Load()
	}
	return due
}

// Snapshot returns the state of the run at this moment.
func (r *Run) Snapshot() Progress {
	now := time.Since(r.started)
	p := Progress{ElapsedSeconds: now.Seconds()}
	for _, l := range r.loops {
		t := TrafficProgress{
			Name: l.Name, Requests: l.requests.Load(), OK: l.ok.Load(), Failed: l.failed.Load(),
			InFlight: l.inFlight.Load(), Recent: exactLatency(l.samples.since(now - time.Second)),
		}
		p.Requests += t.Requests
		p.OK += t.OK
		p.Failed += t.Failed
		p.InFlight += t.InFlight
		p.Traffic = append(p.Traffic, t)
	}
	return p
}
