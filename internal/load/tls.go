package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// The names of protocols in ALPN (RFC 7301 and RFC 9113, 3.2).
const (
	protocolHTTP1 = "http/1.1"
	protocolHTTP2 = "h2"
)

// hasNone reports whether the server said that it has none of the protocols that
// it was offered (RFC 7301, 3.2). The alert's type is crypto/tls's own.
func hasNone(err error) bool {
	var said *net.OpError
	return errors.As(err, &said) && said.Op == "remote error" && said.Err.Error() == "tls: no application protocol"
}

// tlsFor is how a target is spoken to. No session is resumed: every connection
// pays for its own handshake, as the first of a client does.
func tlsFor(base *tls.Config, to target, http2 bool) *tls.Config {
	c := &tls.Config{}
	if base != nil {
		c = base.Clone()
	}
	c.ClientSessionCache = nil
	c.NextProtos = []string{protocolHTTP1}
	if http2 {
		c.NextProtos = []string{protocolHTTP2}
	}
	host, _, err := net.SplitHostPort(to.host)
	if err != nil {
		host = to.host
	}
	c.ServerName = cmp.Or(c.ServerName, host, "localhost")
	return c
}

// errHandshake is in all errors of TLS handshakes.
var errHandshake = errors.New("TLS handshake")

// shakeHands begins TLS on a connection whose deadline is set. The result
// stands for raw, which is left open when there is none.
func (d *dialer) shakeHands(ctx context.Context, raw net.Conn) (net.Conn, error) {
	c := tls.Client(&looker{Conn: raw}, d.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		if hasNone(err) && d.tls.NextProtos[0] == protocolHTTP2 {
			err = fmt.Errorf("%w: %w", errNoHTTP2, err)
		}
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	want := d.tls.NextProtos[0]
	if got := c.ConnectionState().NegotiatedProtocol; got != want && (got != "" || want == protocolHTTP2) {
		if want == protocolHTTP2 {
			return nil, fmt.Errorf("%w: %w: it chose protocol %q, want %q", errHandshake, errNoHTTP2, got, want)
		}
		return nil, fmt.Errorf("%w: the server chose protocol %q, want %q", errHandshake, got, want)
	}
	return c, nil
}

// bottom is the connection below TLS, or c itself.
func bottom(c net.Conn) net.Conn {
	if encrypted, ok := c.(*tls.Conn); ok {
		return encrypted.NetConn().(*looker).Conn
	}
	return c
}

// A looker is the connection below TLS. It is used by one goroutine at a time
// while looks is changed.
type looker struct {
	net.Conn
	looks bool // reads do not wait
}

// Read implements net.Conn.
func (l *looker) Read(p []byte) (int, error) {
	if !l.looks {
		return l.Conn.Read(p)
	}
	n, err := receiveNow(l.Conn, p, 0)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// readArrived reads what TLS has for p without waiting. What is not for the
// user of the connection, as tickets for later sessions are not, is taken away
// on the way.
func readArrived(c *tls.Conn, p []byte) (int, error) {
	l := c.NetConn().(*looker)
	l.looks = true
	defer func() { l.looks = false }()
	return c.Read(p)
}
