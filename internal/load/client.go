package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A loop sends one Traffic and counts what becomes of it.
type loop struct {
	Traffic
	config  Config
	started time.Time
	script  *script
	dialer  *dialer
	most    int64 // requests in flight

	requests, ok, failed, unfinished atomic.Uint64
	connections, idleCloses, resent  atomic.Uint64
	inFlight                         atomic.Int64
	samples                          recorder
	failures                         failureLog
	generations                      *generations
}

func newLoop(t Traffic, config Config, to target, g *generations) *loop {
	l := &loop{
		Traffic: t, config: config, generations: g,
		script: newScript(t, to, config.GenerationHeader),
		dialer: newDialer(to, t.Rate*float64(max(t.Clients, 1)), t.Clients),
		most:   int64(orDefault(config.MaxInFlight, max(DefaultMaxInFlight, 2*t.Clients))),
	}
	l.dialer.instead = config.Dial
	if to.scheme == "https" {
		l.dialer.tls = tlsFor(config.TLS, to, t.HTTP2)
	}
	return l
}

// A result is what became of one request.
type result struct {
	answer
	end time.Time // when the answer was complete, or clear that none comes
	err error
}

// admit counts a request that is due and gives it its number. It reports
// whether the request may be sent.
func (l *loop) admit(due time.Time) (number uint64, ok bool) {
	number = l.requests.Add(1)
	if l.inFlight.Add(1) > l.most {
		l.overload(due, "%d requests are in flight already", l.most)
		return 0, false
	}
	return number, true
}

func (l *loop) overload(due time.Time, format string, args ...any) {
	l.settle(context.Background(), due, result{end: time.Now(), err: fail(Overload, format, args...)})
}

// settle gives a request its outcome.
func (l *loop) settle(ctx context.Context, due time.Time, r result) {
	defer l.inFlight.Add(-1)
	if r.err != nil && ctx.Err() != nil {
		l.unfinished.Add(1)
		return
	}
	s := newSample(due.Sub(l.started), r.end.Sub(due))
	s.generation = l.generations.number(r.generation)
	if r.err == nil {
		l.ok.Add(1)
	} else {
		l.failed.Add(1)
		kinds := failureKinds()
		kind := classify(r.err)
		s.failure = uint8(slices.Index(kinds[:], kind) + 1)
		l.failures.add(kind, s.begin().Seconds(), r.err)
	}
	l.samples.add(s)
}

// alone makes one request on a connection of its own.
func (l *loop) alone(ctx context.Context, number uint64) result {
	if l.HTTP2 {
		return l.aloneHTTP2(ctx, number)
	}
	c, err := l.connect(ctx)
	if err != nil {
		return result{end: time.Now(), err: err}
	}
	if l.Pattern == InFlight {
		c.patience = l.config.Timeout
	}
	a, err := l.script.exchange(c, number)
	r := result{answer: a, end: time.Now(), err: err}
	if !a.whole {
		c.Close()
		return r
	}
	if l.Raw {
		// An echo server closes once its client has said all.
		r.err = cmp.Or(r.err, c.closeWrite())
		r.closes = true
	}
	r.err = cmp.Or(r.err, c.finish(r.closes))
	return r
}

// connect dials; the timeout of the request begins.
func (l *loop) connect(ctx context.Context) (*connection, error) {
	c, err := l.dialer.dial(ctx, time.Now().Add(l.config.Timeout))
	if err == nil {
		l.connections.Add(1)
	}
	return c, err
}

// newConnections returns what the pacer calls for each request of
// NewConnection. The requests are joined by group.
func (l *loop) newConnections(ctx context.Context, group *sync.WaitGroup) func(due time.Time) {
	return func(due time.Time) {
		number, ok := l.admit(due)
		if !ok {
			return
		}
		group.Go(func() { l.settle(ctx, due, l.alone(ctx, number)) })
	}
}

// afterFailure is the pause of a closed loop, which a server that fails at
// once would make spin otherwise.
const afterFailure = 50 * time.Millisecond

// entrance is the time between two clients of a closed loop that begin: were
// they thousands at once, their burst would be what is measured.
const entrance = 100 * time.Microsecond

// keepInFlight waits for delay, and then makes one request after the other until
// stopping, and at least one.
func (l *loop) keepInFlight(ctx context.Context, stopping <-chan struct{}, delay time.Duration) {
	if delay > 0 {
		stopped(stopping, delay)
	}
	for {
		begin := time.Now()
		var pause time.Duration
		if number, ok := l.admit(begin); ok {
			r := l.alone(ctx, number)
			l.settle(ctx, begin, r)
			if r.err != nil {
				pause = afterFailure
			}
		} else {
			pause = afterFailure
		}
		if stopped(stopping, pause) {
			return
		}
	}
}

// stopped waits for d and reports whether stopping was closed.
func stopped(stopping <-chan struct{}, d time.Duration) bool {
	if d == 0 {
		select {
		case <-stopping:
			return true
		default:
			return false
		}
	}
	select {
	case <-stopping:
		return true
	case <-time.After(d):
		return false
	}
}

// clientQueue is how many requests may be due at one keep-alive client, at the
// most.
const clientQueue = 256

// A keepAlive is one client with one connection at a time.
type keepAlive struct {
	*loop
	queue      chan turn   // what is due; the pacer sends
	connection *connection // nil: none
}

// A turn is a request that is due.
type turn struct {
	due    time.Time
	number uint64
}

func newKeepAlive(l *loop) *keepAlive {
	// As many as may come in twice the time after which the first has failed.
	room := int(min(clientQueue, 4+2*l.Rate*l.config.Timeout.Seconds()))
	return &keepAlive{loop: l, queue: make(chan turn, room)}
}

// fire is what the pacer calls for each request.
func (k *keepAlive) fire(due time.Time) {
	number, ok := k.admit(due)
	if !ok {
		return
	}
	select {
	case k.queue <- turn{due, number}:
	default:
		k.overload(due, "%d requests wait for the client's connection already", cap(k.queue))
	}
}

// run sends what is due until the queue is closed.
func (k *keepAlive) run(ctx context.Context) {
	for t := range k.queue {
		k.settle(ctx, t.due, k.request(ctx, t.number))
		if k.connection != nil && len(k.queue) == 0 {
			k.connection.park()
		}
	}
	if k.connection != nil {
		k.connection.Close()
	}
}

// request makes one request on the client's connection.
func (k *keepAlive) request(ctx context.Context, number uint64) result {
	if err := k.ready(ctx); err != nil {
		return result{end: time.Now(), err: err}
	}
	a, err := k.script.exchange(k.connection, number)
	r := result{answer: a, end: time.Now(), err: err}
	switch {
	case !a.whole:
		k.drop()
	case a.closes:
		r.err = cmp.Or(r.err, k.connection.finish(true))
		k.connection = nil
	}
	return r
}

// ready makes sure that there is a connection that the server has not closed
// as far as can be known. What it does after this moment fails the request.
func (k *keepAlive) ready(ctx context.Context) (err error) {
	if k.connection != nil {
		k.connection.wake()
		err := cmp.Or(ctx.Err(), k.connection.SetDeadline(time.Now().Add(k.config.Timeout)))
		if err == nil {
			err = k.connection.idle()
		}
		if err == nil {
			return nil
		}
		k.drop()
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w (between two requests)", err)
		}
		k.idleCloses.Add(1)
	}
	k.connection, err = k.connect(ctx)
	return err
}

func (k *keepAlive) drop() {
	k.connection.Close()
	k.connection = nil
}
