package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// secureServer is goodServer over TLS, with the way to trust it.
func secureServer(t *testing.T, http2 bool) (url string, trust *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail on purpose
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	trust = &tls.Config{RootCAs: x509.NewCertPool()}
	trust.RootCAs.AddCert(s.Certificate())
	return s.URL, trust
}

func TestHTTPOverTLS(t *testing.T) {
	t.Parallel()
	url, trust := secureServer(t, false)
	r := run(t, Config{Target: url, TLS: trust, Duration: 400 * time.Millisecond, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 50, Path: "/echo", PayloadBytes: 100_000, Echo: true},
		{Pattern: KeepAlive, Clients: 5, Rate: 20, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Pattern: InFlight, Clients: 2, Path: "/stream", BodyBytes: 70},
	}})
	if r.Failed > 0 || r.Unfinished > 0 || r.Resent > 0 {
		t.Errorf("failed %v, unfinished %d: %+v", r.FailedByKind, r.Unfinished, r.Traffic)
	}
	if k := r.Traffic[1]; k.Connections != 5 || k.Requests != 40 {
		t.Errorf("%d connections for %d requests of 5 clients", k.Connections, k.Requests)
	}
}

// TestIdleSeesThroughTLS: what TLS sends on its own, as tickets, is none of the
// server's words, and its farewell is an end.
func TestIdleSeesThroughTLS(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		act  func(c net.Conn) error
		want error
	}{
		"nothing": {func(net.Conn) error { return nil }, nil},
		"bytes":   {func(c net.Conn) error { _, err := c.Write([]byte("!")); return err }, errUnasked},
		"close":   {net.Conn.Close, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := tlsPair(t)
			if err := ours.idle(); err != nil {
				t.Fatalf("after the handshake: %v", err)
			}
			if err := row.act(theirs); err != nil {
				t.Fatal(err)
			}
			err := ours.idle()
			for deadline := time.Now().Add(10 * time.Second); err == nil && row.want != nil && time.Now().Before(deadline); err = ours.idle() {
				<-time.After(time.Millisecond)
			}
			if !errors.Is(err, row.want) {
				t.Fatalf("%v, want %v", err, row.want)
			}
			if row.want != nil {
				return
			}
			// It can be read as ever after it was looked at.
			theirs.Write([]byte("hello\n"))
			if line, err := ours.reader.ReadString('\n'); line != "hello\n" {
				t.Errorf("%q, %v", line, err)
			}
		})
	}
}

// tlsPair is a connection of the engine and the server's end of it.
func tlsPair(t *testing.T) (*connection, net.Conn) {
	t.Helper()
	identity := httptest.NewUnstartedServer(nil)
	identity.StartTLS()
	t.Cleanup(identity.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: identity.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	})
	defer accepting.Wait()
	to, err := parseTarget("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(to, 1, 0)
	d.tls = tlsFor(&tls.Config{InsecureSkipVerify: true}, to, false)
	ours, err := d.dial(t.Context(), time.Now().Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	theirs := <-accepted
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

func TestHandshakesThatFailAreTold(t *testing.T) {
	t.Parallel()
	secure, trust := secureServer(t, false)
	plain := goodServer(t)
	for name, row := range map[string]struct {
		target string
		trust  *tls.Config
		http2  bool
		words  string
		advice string
	}{
		"unknown authority": {secure, nil, false, "unknown authority", "known here, and for this name?"},
		"no HTTP/2":         {secure, trust, true, "protocol", "is HTTP/2 turned on there"},
		"another name":      {secure, &tls.Config{RootCAs: trust.RootCAs, ServerName: "elsewhere.test"}, false, "elsewhere.test", "known here, and for this name?"},
		"no TLS":            {strings.Replace(plain, "http://", "https://", 1), nil, false, "TLS handshake", "is it https there?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Config{Target: row.target, TLS: row.trust, Duration: 50 * time.Millisecond, Traffic: []Traffic{
				{Pattern: NewConnection, Rate: 40, HTTP2: row.http2}, {Pattern: KeepAlive, Clients: 1, Rate: 40, HTTP2: row.http2},
			}}
			r := run(t, c)
			if r.OK > 0 || r.FailedByKind[TLS] != r.Requests {
				t.Fatalf("%d OK, failed %v: %+v", r.OK, r.FailedByKind, r.Traffic[0].Failures)
			}
			if text := r.Traffic[0].Failures[0].First[0].Error; !strings.Contains(text, row.words) {
				t.Errorf("the first failure is %q, which does not say %q", text, row.words)
			}
			if err := c.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), row.words) || !strings.Contains(err.Error(), row.advice) {
				t.Errorf("before the run: %v", err)
			}
		})
	}
}

func TestReachTellsWhetherSomebodyListens(t *testing.T) {
	t.Parallel()
	secure, trust := secureServer(t, true)
	c := Config{Target: goodServer(t), TLS: trust, Duration: 1, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 1}, {Name: "secure", Pattern: NewConnection, Rate: 1, Target: secure, HTTP2: true},
	}}
	if err := c.Reach(t.Context()); err != nil {
		t.Error(err)
	}
	c.Traffic = append(c.Traffic, Traffic{Name: "nowhere", Pattern: NewConnection, Rate: 1, Target: "unix:///nowhere/at/all"})
	if err := c.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot reach unix:///nowhere/at/all: ") || !strings.Contains(err.Error(), "nobody listens") {
		t.Error(err)
	}
	c.Traffic = []Traffic{{Pattern: NewConnection, Rate: 1, HTTP2: true}}
	if err := c.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "does not speak HTTP/2") {
		t.Error(err)
	}
	c.Timeout, c.Target = 50*time.Millisecond, newFaultServer(t, func(s *faultServer, _ *net.TCPConn, _ *bufio.Reader) { <-s.done }).url
	if err := c.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "does not say that it speaks HTTP/2") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Reach(ctx); err == nil {
		t.Error("reached with an ended context")
	}
}

// TestHeadersAreSent, in both versions of HTTP.
func TestHeadersAreSent(t *testing.T) {
	t.Parallel()
	url := bothVersions(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s %q %s", r.Proto, r.Method, r.Host, r.URL, r.Header["X-Words"], r.UserAgent())
		io.Copy(io.Discard, r.Body)
	}))
	one := Traffic{
		Name: "1", Pattern: NewConnection, Rate: 20, Method: "PATCH", Path: "/a?b=c", Host: "elsewhere.test:81", PayloadBytes: 5,
		Header: http.Header{"X-Words": {"one", "two"}, "User-Agent": {"me"}},
		Body:   `HTTP/1.1 PATCH elsewhere.test:81 /a?b=c ["one" "two"] me`,
	}
	two := one
	two.Name, two.HTTP2, two.Body = "2", true, strings.Replace(one.Body, "HTTP/1.1", "HTTP/2.0", 1)
	r := run(t, Config{Target: url, Duration: 100 * time.Millisecond, Traffic: []Traffic{one, two}})
	if r.Failed > 0 || r.OK != 4 {
		t.Errorf("%d OK, failed %v: %+v", r.OK, r.FailedByKind, r.Traffic)
	}
}
