package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// silence is how long one who has connected may take to begin a request while
// everybody else has been answered.
const silence = 250 * time.Millisecond

// Why a stream stops.
var (
	errGone    = errors.New("the client is gone")
	errCarried = errors.New("the stream is to be carried over")
	errCut     = errors.New("the server ends")
)

// guests are all connections of a server: visits, which net/http answers or has
// just given away, and streams. Every one is among them at any moment.
type guests struct {
	mu       sync.Mutex
	change   sync.Cond
	visits   map[net.Conn]http.ConnState
	streams  map[*stream]struct{}
	carrying bool // streams are to stop
	rest     bool // all have
	ended    bool
	carried  []Carried // since carry
	failed   error     // why one could not be carried
}

func newGuests() *guests {
	g := &guests{visits: map[net.Conn]http.ConnState{}, streams: map[*stream]struct{}{}}
	g.change.L = &g.mu
	return g
}

// visit is the http.Server's ConnState.
func (g *guests) visit(c net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if state == http.StateClosed {
		delete(g.visits, c)
	} else {
		g.visits[c] = state
	}
	g.change.Broadcast()
}

// enter begins a round of answering st, which ends with the context. A visit has
// then become a stream.
func (g *guests) enter(st *stream) context.Context {
	ctx, leave := context.WithCancelCause(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.visits, st.conn)
	g.streams[st], st.leave = struct{}{}, leave
	switch {
	case g.ended:
		leave(errCut)
	case g.carrying && st.carriable():
		leave(errCarried)
	}
	g.change.Broadcast()
	return ctx
}

// know takes the number of the request that st waits for. From then on it can
// be carried.
func (g *guests) know(st *stream, request uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st.order.Request = request
	if g.carrying {
		st.leave(errCarried)
	}
}

// part ends what enter began: the stream is over, or c is what is carried of
// it, unless that failed.
func (g *guests) part(st *stream, c *Carried, failed error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case failed != nil:
		g.failed, g.carrying = failed, false
	case c != nil:
		g.carried = append(g.carried, *c)
		delete(g.streams, st)
	default:
		delete(g.streams, st)
	}
	st.leave(nil)
	g.change.Broadcast()
}

// carry has the streams that can be carried stop, and returns when there are
// neither others nor visits. It returns what was carried, also with an error;
// then, or when it is called, no more guests may be let in.
func (g *guests) carry(ctx context.Context) ([]Carried, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.carrying, g.failed, g.carried = true, nil, nil
	for st := range g.streams {
		if st.carriable() {
			st.leave(errCarried)
		}
	}
	patient, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	g.wait(patient, func() bool { return g.answered() && g.count(http.StateNew) == 0 })
	g.wait(ctx, g.answered)
	switch {
	case g.failed != nil:
		return g.carried, g.failed
	case !g.answered():
		return g.carried, context.Cause(ctx)
	}
	g.rest = true
	for c := range g.visits {
		_ = c.Close() // one that is idle, or silent
	}
	return g.carried, nil
}

// resting: there is nobody left who could be answered.
func (g *guests) resting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rest
}

// answered: nobody is being answered but those who ask for the replacement.
func (g *guests) answered() bool {
	if g.failed != nil {
		return true
	}
	for st := range g.streams {
		if st.order.Kind != KindReexec {
			return false
		}
	}
	return g.count(http.StateActive)+g.count(http.StateHijacked) == 0
}

func (g *guests) count(state http.ConnState) (n int) {
	for _, s := range g.visits {
		if s == state {
			n++
		}
	}
	return n
}

// replacing returns the streams of those who ask for the replacement.
func (g *guests) replacing() []*stream {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*stream
	for st := range g.streams {
		if st.order.Kind == KindReexec {
			all = append(all, st)
		}
	}
	return all
}

// stay ends carry: guests are let in again.
func (g *guests) stay() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.carrying, g.rest, g.carried = false, false, nil
}

// end waits for the streams until ctx is done, when it cuts them.
func (g *guests) end(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	none := func() bool { return len(g.streams)+g.count(http.StateHijacked) == 0 }
	g.wait(ctx, none)
	g.ended = true
	for st := range g.streams {
		st.leave(errCut)
		_ = st.conn.Close()
	}
	g.wait(context.Background(), none)
}

// wait waits until done, or ctx is. The lock is held.
func (g *guests) wait(ctx context.Context, done func() bool) {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.change.Broadcast()
	})
	defer stop()
	for !done() && ctx.Err() == nil {
		g.change.Wait()
	}
}
