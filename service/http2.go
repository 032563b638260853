package service

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
)

// net/http sends GOAWAY from Server.Shutdown only, which loses HTTP/1 requests,
// and then names the last stream it has seen: a request that crosses the GOAWAY
// on its way is lost unless its client may send it again. A lossless end needs
// the GOAWAY with the highest stream number that RFC 9113 (6.8) recommends to
// send first. It is written between two frames of net/http's, by the goAway of
// each connection.
//
// Without TLS, net/http writes frames to our connection. With TLS it writes
// them to a *tls.Conn, where nothing can be put in between; so these
// connections are served, from the end of the handshake, by a second
// http.Server that takes the *tls.Conn for a connection without TLS.

// A tlsHTTP2 serves the HTTP/2 connections of a server with TLS.
type tlsHTTP2 struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
	done   sync.WaitGroup
}

// wantsHTTP2 reports whether srv is to speak HTTP/2 with TLS and leaves the
// implementation to net/http.
func wantsHTTP2(srv *http.Server) bool {
	if srv.TLSNextProto != nil || strings.Contains(os.Getenv("GODEBUG"), "http2server=0") {
		return false // switched off, or an implementation of the program's own
	}
	return srv.Protocols == nil || srv.Protocols.HTTP2()
}

// installHTTP2 has srv hand its HTTP/2 connections over. observe is told of
// their states; stop joins what is started here.
func installHTTP2(srv *http.Server, observe func(net.Conn, http.ConnState)) *tlsHTTP2 {
	h := &tlsHTTP2{conns: make(chan net.Conn), closed: make(chan struct{})}
	h.server = &http.Server{
		Handler:                      http.HandlerFunc(h.serve),
		Protocols:                    new(http.Protocols),
		HTTP2:                        srv.HTTP2,
		ReadTimeout:                  srv.ReadTimeout,
		ReadHeaderTimeout:            srv.ReadHeaderTimeout,
		WriteTimeout:                 srv.WriteTimeout,
		IdleTimeout:                  srv.IdleTimeout,
		MaxHeaderBytes:               srv.MaxHeaderBytes,
		ErrorLog:                     srv.ErrorLog,
		DisableGeneralOptionsHandler: true, // srv answers
		ConnContext:                  connContext,
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateActive || state == http.StateIdle {
				observe(c.(*http2TLSConn).tls, state)
			}
		},
	}
	h.server.Protocols.SetUnencryptedHTTP2(true)
	if srv.Protocols != nil && srv.Protocols.UnencryptedHTTP2() {
		configure(srv)
	}
	if srv.TLSNextProto == nil {
		srv.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	srv.TLSNextProto["h2"] = h.takeOver
	h.done.Go(func() { _ = h.server.Serve(h) })
	return h
}

// configure has srv set up what it serves HTTP/2 without TLS with. net/http does
// so when it begins to serve, unless "h2" is taken by then.
func configure(srv *http.Server) {
	base := srv.BaseContext
	srv.BaseContext = nil // the program's own is for its listeners
	_ = srv.Serve(noListener{})
	srv.BaseContext = base
}

// A noListener has nothing to accept.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return &net.UnixAddr{Net: "unix"} }

func (h *tlsHTTP2) stop() {
	_ = h.Close()
	_ = h.server.Close()
	h.done.Wait()
}

// takeOver is called by srv after the handshake; it returns when the connection
// is closed. handler completes a request with what srv knows of the connection.
func (h *tlsHTTP2) takeOver(srv *http.Server, c *tls.Conn, handler http.Handler) {
	own := &http2TLSConn{Conn: c, tls: c, server: srv, handler: handler, closed: make(chan struct{})}
	if t := trackedOf(c); t != nil {
		own.goAway = t.expectHTTP2()
	}
	select {
	case h.conns <- own:
		<-own.closed
	case <-h.closed:
	}
}

// Accept, Close and Addr make a net.Listener of what takeOver gives.
func (h *tlsHTTP2) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *tlsHTTP2) Close() error {
	h.close.Do(func() { close(h.closed) })
	return nil
}

func (h *tlsHTTP2) Addr() net.Addr { return noListener{}.Addr() }

type http2ConnKey struct{}

// connContext continues the context that srv made for the connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	own := c.(*http2TLSConn)
	if b, ok := own.handler.(interface{ BaseContext() context.Context }); ok {
		ctx = b.BaseContext()
	}
	return context.WithValue(ctx, http2ConnKey{}, own)
}

// serve hands a request to the handler that belongs to its connection.
func (h *tlsHTTP2) serve(w http.ResponseWriter, r *http.Request) {
	own := r.Context().Value(http2ConnKey{}).(*http2TLSConn)
	ctx := context.WithValue(r.Context(), http.ServerContextKey, own.server)
	own.handler.ServeHTTP(w, r.WithContext(ctx))
}

// An http2TLSConn is a *tls.Conn that the second server does not know as one.
type http2TLSConn struct {
	net.Conn
	tls     *tls.Conn
	server  *http.Server // that accepted it
	handler http.Handler
	goAway  *goAway
	closed  chan struct{}
	once    sync.Once
}

func (c *http2TLSConn) Write(b []byte) (int, error) {
	if c.goAway == nil {
		return c.Conn.Write(b)
	}
	return c.goAway.write(c.Conn, b)
}

func (c *http2TLSConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.goAway != nil && n > 0 {
		c.goAway.read(b[:n])
	}
	return n, err
}

func (c *http2TLSConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}
