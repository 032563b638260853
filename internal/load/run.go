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
	clients     []*keepAlive
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
	for _, k := range r.clients {
		close(k.queue)
	}
	// Every request has a timeout of its own; this is for streams.
	limit := time.AfterFunc(r.config.Timeout+lingerTime, abort)
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
			k := newKeepAlive(l)
			r.clients = append(r.clients, k)
			requests.Go(func() { k.run(ctx) })
			// Spread, so that the clients do not knock in step.
			offset := time.Duration(float64(time.Second) / l.Rate * float64(i) / float64(l.Clients))
			r.pacer.add(r.started.Add(offset), l.Rate, k.fire)
		}
	case InFlight:
		for range l.Clients {
			requests.Go(func() { l.keepInFlight(ctx, r.stopping) })
		}
	}
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
