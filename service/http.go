package service

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ServeHTTP registers srv for a listener: Run serves it. The service takes srv
// over: it wraps Handler, ConnState and ConnContext, adds to TLSNextProto, and
// ends srv by itself; srv must not be changed, served or shut down by anyone else. One srv
// may serve several listeners.
//
// The end loses no request, which [http.Server.Shutdown] alone does: that one
// drops a request that was being read when it was called. Here the intake stops
// first; what was accepted is answered; every further response tells its
// HTTP/1 client "Connection: close", and HTTP/2 clients get GOAWAY, for future
// streams only; connections on which nothing happens are closed last, once their client had
// [Config].IdleTimeout to hear of it and nothing of it waits to be read. They
// are closed a few at a time, and HTTP/2 clients told a few at a time.
// Functions of RegisterOnShutdown are called after that.
//
// Hijacked connections count as open until they are closed; they learn of the
// end from Draining. A srv whose TLSNextProto is set already keeps its own
// HTTP/2 implementation, or none; its clients are not told to go, and their
// connections are closed once they are idle. (HTTP2 and Protocols of srv are
// the fields to configure HTTP/2 with, also without TLS:
// Protocols.SetUnencryptedHTTP2.)
func (s *Service) ServeHTTP(name string, srv *http.Server) error {
	return s.serveHTTP(name, srv, func(l net.Listener) error { return srv.Serve(l) })
}

// ServeHTTPS is like ServeHTTP with TLS. srv.TLSConfig has the certificates.
func (s *Service) ServeHTTPS(name string, srv *http.Server) error {
	c := srv.TLSConfig
	if c == nil || len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return fmt.Errorf("cannot serve HTTPS on listener %q: the server's TLSConfig has no certificate", name)
	}
	return s.serveHTTP(name, srv, func(l net.Listener) error { return srv.ServeTLS(l, "", "") })
}

func (s *Service) serveHTTP(name string, srv *http.Server, serve func(net.Listener) error) error {
	e, err := s.claim(name, false)
	if err != nil {
		return err
	}
	if err := s.register(e, func() error { return serve(e.listener) }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.https {
		if h.srv == srv {
			e.serveWith(h)
			return nil
		}
	}
	h := newHTTPServer(srv)
	s.https = append(s.https, h)
	e.serveWith(h)
	return nil
}

// An httpServer is an http.Server whose end loses nothing.
type httpServer struct {
	srv      *http.Server
	handler  http.Handler                   // the program's; nil: http.DefaultServeMux
	observe  func(net.Conn, http.ConnState) // the program's, or nil
	http2    *tlsHTTP2                      // nil if srv does not speak it, or has its own
	draining atomic.Bool                    // set when the intake has stopped
	serving  atomic.Int64                   // connections that srv has a goroutine for
	open     int                            // of the sweep: connections that are not hijacked
	conns    []*tracked                     // of the sweep: room for its list
	closers  sync.WaitGroup                 // of tracked.beginClose
	shutdown sync.Once

	// context is the program's ConnContext, or nil.
	context func(context.Context, net.Conn) context.Context
}

func newHTTPServer(srv *http.Server) *httpServer {
	h := &httpServer{srv: srv, handler: srv.Handler, observe: srv.ConnState, context: srv.ConnContext}
	srv.Handler = h
	srv.ConnState = h.connState
	srv.ConnContext = h.connContext
	if wantsHTTP2(srv) {
		h.http2 = installHTTP2(srv, h.connState)
	}
	return h
}

// stop closes what is left when the drain has ended and every connection is
// closed.
func (h *httpServer) stop() {
	h.closers.Wait()
	_ = h.srv.Close()
	if h.http2 != nil {
		h.http2.stop()
	}
}

// prepare readies a connection that was just accepted.
func (h *httpServer) prepare(t *tracked) {
	if p := h.srv.Protocols; p != nil && p.UnencryptedHTTP2() {
		t.expectHTTP2()
	}
}

func (h *httpServer) connState(c net.Conn, state http.ConnState) {
	if t := trackedOf(c); t != nil {
		t.note(c, state)
	}
	switch state {
	case http.StateNew:
		h.serving.Add(1)
	case http.StateHijacked:
		countAnswer(trackedOf(c))
	}
	if h.observe != nil {
		h.observe(c, state)
	}
	if state == http.StateClosed || state == http.StateHijacked {
		h.serving.Add(-1)
	}
}

// trackedKey is the key of the connection of a request, in its context.
type trackedKey struct{}

func (h *httpServer) connContext(ctx context.Context, c net.Conn) context.Context {
	if h.context != nil {
		ctx = h.context(ctx, c)
	}
	return context.WithValue(ctx, trackedKey{}, trackedOf(c))
}

// ServeHTTP calls the program's handler and counts the request as answered when
// it has returned. HTTP/2 connections are told to go in
// their own way: a "Connection: close" makes net/http send a GOAWAY that names a
// last stream, and what crosses that is lost.
func (h *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler := h.handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	conn, _ := r.Context().Value(trackedKey{}).(*tracked)
	if r.ProtoMajor != 1 {
		handler.ServeHTTP(w, r)
		countAnswer(conn)
		return
	}
	f := &farewell{ResponseWriter: w, server: h}
	handler.ServeHTTP(f, r)
	f.say() // net/http writes the header of a response that is empty
	if conn == nil || http.ConnState(conn.state.Load()) != http.StateHijacked {
		countAnswer(conn)
	}
}

// countAnswer counts a request of the connection as answered. One that took the
// connection over counts when it does so, not at the end of what follows.
func countAnswer(t *tracked) {
	if t != nil {
		t.shard.answered.Add(1)
	}
}

func (h *httpServer) drain() { h.draining.Store(true) }

// tend closes the connections that are idle for good and counts the others.
// They are closed a few at a time, and none while they are held. In the same way
// HTTP/2 connections are told to go, also those that were in their handshake the
// last time.
func (h *httpServer) tend(l *listener, s *sweep) {
	h.conns = l.conns.appendOpen(h.conns[:0])
	defer clear(h.conns) // those that are closed may go
	closing, telling := s.batches(len(h.conns), l.limit)
	for _, t := range h.conns {
		if g := t.goAway.Load(); g != nil && telling > 0 && g.ask() {
			telling--
		}
		if !t.closing && closing > 0 && t.mayClose(s) {
			t.beginClose(&h.closers)
			closing--
		}
		if t.gone.Load() {
			continue
		}
		s.open++
		if http.ConnState(t.state.Load()) != http.StateHijacked {
			h.open++
		}
	}
}

// afterSweep shuts srv down once only hijacked connections are left: there is
// nothing left to lose, and its hooks hear of the end. The drain goes on until
// the program has been told of the end of every connection.
func (h *httpServer) afterSweep(s *sweep) {
	if h.open == 0 && h.serving.Load() > 0 {
		s.open++
	} else if h.open == 0 {
		h.shutdown.Do(func() { _ = h.srv.Shutdown(context.Background()) })
	}
}

// mayClose reports whether closing the connection takes nothing from its
// client: no request is being read, none is answered, none has arrived, and the
// client had its time.
func (t *tracked) mayClose(s *sweep) bool {
	since, limit := s.began, s.idle
	state := http.ConnState(t.state.Load())
	if g := t.speaksHTTP2(); g != nil && state == http.StateIdle {
		told := g.told.Load()
		since, limit = later(time.Unix(0, told), t.idleSince()), min(limit, s.grace)
		return told != 0 && s.now.Sub(since) >= limit && t.isQuiet(g) && !t.readable()
	}
	switch state {
	case http.StateNew:
		// Over TLS the bytes may be the handshake's. In plain HTTP they are the
		// first part of a request.
		if t.reads.Load() > 0 && t.outer.Load() == nil {
			return false
		}
		since = later(since, t.accepted)
	case http.StateIdle:
		// net/http says active only when the whole header is read.
		if t.reads.Load() != t.mark.Load() {
			return false
		}
		since = later(since, t.idleSince())
	default:
		return false
	}
	return s.now.Sub(since) >= limit && !t.readable()
}

// isQuiet reports whether an HTTP/2 client sends nothing: nothing was read since
// the last look, for net/http to act on, and no part of a frame waits for the
// rest. The number of reads alone does not tell, because clients send frames
// that are no requests at any time.
func (t *tracked) isQuiet(g *goAway) bool {
	reads := t.reads.Load()
	quiet := t.seen == reads && !g.partial.Load()
	t.seen = reads
	return quiet
}

func (t *tracked) idleSince() time.Time { return time.Unix(0, t.idleAt.Load()) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
