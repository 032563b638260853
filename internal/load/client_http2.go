package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// mostAttempts bounds how often a request is sent that the server says it did
// not touch.
const mostAttempts = 10

// again reports whether a request may be sent once more, and counts it if it had
// been sent.
func (l *loop) again(ctx context.Context, err error, attempt int) bool {
	if attempt >= mostAttempts || ctx.Err() != nil {
		return false
	}
	if errors.Is(err, errUntouched) {
		l.resent.Add(1)
		return true
	}
	return errors.Is(err, errUnsent)
}

// aloneHTTP2 is alone for HTTP/2.
func (l *loop) aloneHTTP2(ctx context.Context, number uint64) result {
	deadline := time.Now().Add(l.config.Timeout)
	var patience time.Duration
	if l.Pattern == InFlight {
		patience = l.config.Timeout
	}
	for attempt := 1; ; attempt++ {
		m, err := l.multiplex(ctx, deadline)
		if err != nil {
			return result{end: time.Now(), err: err}
		}
		a, err := m.exchange(l.script, number, deadline, patience)
		r := result{answer: a, end: time.Now(), err: err}
		m.close()
		if !l.again(ctx, err, attempt) {
			return r
		}
	}
}

// A sharer is one keep-alive client of HTTP/2: it has one connection at a time,
// which all its requests share. One that the server takes leave of is kept until
// the requests on it are answered.
type sharer struct {
	*loop
	requests sync.WaitGroup

	mu      sync.Mutex
	current *shared
	dial    *dialling // nil: nobody dials
	former  []*shared
}

// A shared is a connection and how many requests use it.
type shared struct {
	*multiplex
	users int
}

// A dialling is a connection that comes, for all who wait for it.
type dialling struct {
	done chan struct{}
	err  error // read after done
}

// fire returns what the pacer calls for each request.
func (k *sharer) fire(ctx context.Context) func(due time.Time) {
	return func(due time.Time) {
		number, ok := k.admit(due)
		if !ok {
			return
		}
		k.requests.Go(func() {
			k.settle(ctx, due, k.request(ctx, number))
			k.sweep()
		})
	}
}

// run waits until nothing more will be due and all requests have ended, and then
// closes what is left.
func (k *sharer) run(over <-chan struct{}) {
	<-over
	k.requests.Wait()
	k.mu.Lock()
	if k.current != nil {
		k.former = append(k.former, k.current)
	}
	k.mu.Unlock()
	k.sweep()
}

// request makes one request on the client's connection.
func (k *sharer) request(ctx context.Context, number uint64) result {
	deadline := time.Now().Add(k.config.Timeout)
	for attempt := 1; ; attempt++ {
		c, err := k.acquire(ctx, deadline)
		if err != nil {
			return result{end: time.Now(), err: err}
		}
		a, err := c.exchange(k.script, number, deadline, 0)
		r := result{answer: a, end: time.Now(), err: err}
		k.release(c)
		if !k.again(ctx, err, attempt) {
			return r
		}
	}
}

// acquire returns the connection, which is made if there is none.
func (k *sharer) acquire(ctx context.Context, deadline time.Time) (*shared, error) {
	for {
		k.mu.Lock()
		err := k.retire()
		if c := k.current; c != nil && err == nil {
			c.users++
			k.mu.Unlock()
			return c, nil
		}
		d, first := k.dial, k.dial == nil
		if first && err == nil {
			d = &dialling{done: make(chan struct{})}
			k.dial = d
		}
		k.mu.Unlock()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w (between two requests)", err)
		case first:
			k.connect(ctx, deadline, d)
		default:
			err = d.wait(deadline)
		}
		if err == nil {
			err = d.err
		}
		if err != nil {
			return nil, err
		}
	}
}

// wait returns when the connection has come, or at the deadline.
func (d *dialling) wait(deadline time.Time) error {
	limit := time.NewTimer(time.Until(deadline))
	defer limit.Stop()
	select {
	case <-d.done:
		return nil
	case <-limit.C:
		return fmt.Errorf("%w: no connection was made", os.ErrDeadlineExceeded)
	}
}

// connect makes the connection for all who wait for d.
func (k *sharer) connect(ctx context.Context, deadline time.Time, d *dialling) {
	m, err := k.multiplex(ctx, deadline)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.current = &shared{multiplex: m}
	}
	d.err, k.dial = err, nil
	close(d.done)
}

// retire puts a connection aside that takes no more requests, and returns its
// failure if it broke while nobody used it; mu is held.
func (k *sharer) retire() error {
	c := k.current
	if c == nil || c.usable() {
		return nil
	}
	k.current, k.former = nil, append(k.former, c)
	if c.users > 0 {
		return nil
	}
	err := c.brokenIdle()
	if err == nil {
		k.idleCloses.Add(1)
	}
	return err
}

func (k *sharer) release(c *shared) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.users--
}

// sweep closes the former connections that nobody uses.
func (k *sharer) sweep() {
	k.mu.Lock()
	var unused []*shared
	k.former = slices.DeleteFunc(k.former, func(c *shared) bool {
		if c.users == 0 {
			unused = append(unused, c)
		}
		return c.users == 0
	})
	k.mu.Unlock()
	for _, c := range unused {
		c.close()
	}
}
