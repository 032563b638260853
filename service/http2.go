package service

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// The keys of http.Server.TLSNextProto for HTTP/2.
const (
	protoHTTP2            = "h2"
	protoUnencryptedHTTP2 = "unencrypted_http2"
)

// installHTTP2 gives srv an HTTP/2 implementation whose GOAWAY can be sent
// without srv.Shutdown, which would lose HTTP/1 requests, and returns what sends
// it, any number of times.
//
// The implementation is net/http's own, made for a second server that never
// serves anything: net/http puts the functions that serve an HTTP/2 connection
// into that server's TLSNextProto, and has that server's Shutdown send GOAWAY
// to the connections that they serve (http2ConfigureServer in h2_bundle.go). The
// functions take their settings and their handler from the server that calls
// them, which is srv.
func installHTTP2(srv *http.Server) (goAway func()) {
	if srv.TLSNextProto != nil {
		return func() {} // switched off, or an implementation of the program's own
	}
	if p := srv.Protocols; p != nil && !p.HTTP2() && !p.UnencryptedHTTP2() {
		return func() {}
	}
	second := &http.Server{
		IdleTimeout: srv.IdleTimeout,
		ReadTimeout: srv.ReadTimeout,
		HTTP2:       srv.HTTP2,
		Protocols:   new(http.Protocols),
	}
	second.Protocols.SetHTTP2(true)
	second.Protocols.SetUnencryptedHTTP2(true)
	_ = second.Serve(noListener{}) // configures second, then fails
	for _, proto := range []string{protoHTTP2, protoUnencryptedHTTP2} {
		if serve := second.TLSNextProto[proto]; serve != nil {
			if srv.TLSNextProto == nil {
				srv.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
			}
			srv.TLSNextProto[proto] = serve
		}
	}
	return func() { _ = second.Shutdown(context.Background()) }
}

// A noListener accepts nothing.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, errors.New("nothing to accept") }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return &net.UnixAddr{Net: "unix"} }
