// Package load sends traffic to a server and tells truthfully how it was
// served.
//
// It guarantees three things. Every request that was due gets exactly one
// outcome: answered in full and as expected, failed as one of a few kinds, or
// unfinished when the run was cut short. No failure is hidden: a request goes
// out once, on a connection that the engine itself dialled, and is never
// retried; only HTTP/2 has requests of which the server says itself that it did
// not touch them, and those that are sent again for that are counted as resent.
// And latency is counted from the moment a request was due, not from the moment
// it could be sent, so that a server that stalls cannot slow down the
// measurement of its own stall ("coordinated omission").
//
// It is deliberately not a browser: no redirects, no cookies, no compression,
// and every TLS connection makes a handshake of its own, none is resumed.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A Pattern is how a Traffic uses connections and time.
type Pattern string

const (
	// NewConnection is an open loop: requests are due at a fixed rate, each on
	// a connection of its own that the server is asked to close.
	NewConnection Pattern = "new-connection"
	// KeepAlive is an open loop per client: each client has one connection and
	// sends its requests at its own fixed rate, one after the other.
	KeepAlive Pattern = "keep-alive"
	// InFlight is a closed loop: each client always has one request in flight,
	// each on a connection of its own. For slow requests and long streams;
	// latency is counted from the sending.
	InFlight Pattern = "in-flight"
)

// Limits that a Config has by default.
const (
	// DefaultTimeout is Config.Timeout by default.
	DefaultTimeout = 10 * time.Second
	// DefaultMaxInFlight is Config.MaxInFlight by default.
	DefaultMaxInFlight = 4096
	// DefaultBucket is Config.Bucket by default.
	DefaultBucket = 100 * time.Millisecond
	// DefaultAfterEvent is Config.AfterEvent by default.
	DefaultAfterEvent = time.Second
	// DefaultGenerationHeader is Config.GenerationHeader by default.
	DefaultGenerationHeader = "X-Generation"
)

// A Config describes a run. Only Target, Traffic and Duration are required.
type Config struct {
	// Target is where the server is: http://HOST:PORT, https://HOST:PORT, or
	// unix:///PATH (or unix://@NAME) for HTTP over a Unix socket, or
	// tcp://HOST:PORT where all traffic is Raw. A host name is resolved once.
	Target string
	// TLS is how https:// is spoken, borrowed; nil for the certificate
	// authorities of the system. The engine sets NextProtos, and ServerName
	// where it is empty.
	TLS *tls.Config
	// Traffic are the kinds of traffic, all sent at the same time.
	Traffic []Traffic
	// Duration is how long requests are sent. Answers may come later.
	Duration time.Duration
	// Requests ends the run early once so many requests were due, over all
	// open loops. 0: no such bound.
	Requests uint64
	// Timeout is how long a request may take from the time it is sent; for a
	// streamed answer, how long the server may be silent.
	Timeout time.Duration
	// MaxInFlight bounds the requests of each Traffic that are due and not
	// answered. One that would exceed it fails as Overload. By default it is
	// DefaultMaxInFlight, or twice the Clients of the Traffic if that is more.
	MaxInFlight int
	// Bucket is the width of the buckets of the time series.
	Bucket time.Duration
	// AfterEvent is how long after a marked event a request counts as
	// influenced by it.
	AfterEvent time.Duration
	// GenerationHeader is the header of a response that names the generation
	// that answered.
	GenerationHeader string
	// Dial makes the connections instead of a net.Dialer, for a server that is
	// reached in a way of its own, as one in another network namespace. It is
	// called by many at once, ctx has a deadline, and network and address are
	// those of Target. A connection must implement syscall.Conn, as those of
	// package net do; it is the engine's. Connections in TIME-WAIT are then
	// Dial's to bear in mind: all may come from one address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Traffic is one kind of traffic with counters of its own.
type Traffic struct {
	// Name identifies it in reports; the Pattern by default.
	Name    string
	Pattern Pattern
	// Target is used instead of Config.Target, where set.
	Target string
	// Rate is in requests per second: of all together for NewConnection, of
	// each client for KeepAlive. Not used for InFlight.
	Rate float64
	// Clients is the number of connections of KeepAlive and InFlight. Not used
	// for NewConnection.
	Clients int
	// Raw sends the payload as it is and expects the same bytes back, as from
	// an echo server on TCP, instead of HTTP.
	Raw bool
	// HTTP2 speaks HTTP/2 instead of HTTP/1.1: chosen by ALPN over TLS, else
	// with prior knowledge (RFC 9113, 3.3). A client of KeepAlive then sends
	// each request when it is due, beside those that have no answer yet.
	HTTP2 bool

	// Method is GET by default, or POST when there is a payload.
	Method string
	// Path is the request's path and query, "/" by default.
	Path string
	// Host is the request's host, that of the Target by default. TLS is told
	// the Target's.
	Host string
	// Header has further fields of the request; borrowed and only read.
	Header http.Header
	// PayloadBytes is the length of the request's body. Its first bytes are
	// different in every request.
	PayloadBytes int
	// Status is the status that is expected, 200 by default.
	Status int
	// Echo expects the request's body as the body of the response.
	Echo bool
	// Body, where set, is the body that is expected.
	Body string
	// BodyBytes, where set, is the length of the body that is expected.
	BodyBytes int64
}

// Validate reports what in c cannot be used and names the field. Start calls
// it.
func (c Config) Validate() error {
	if len(c.Traffic) == 0 {
		return errors.New("traffic: empty; name at least one kind")
	}
	if c.Duration <= 0 {
		return errors.New("duration: must be more than 0")
	}
	for name, d := range map[string]time.Duration{"timeout": c.Timeout, "bucket": c.Bucket, "after event": c.AfterEvent} {
		if d < 0 {
			return fmt.Errorf("%s: %v is negative", name, d)
		}
	}
	if c.MaxInFlight < 0 {
		return fmt.Errorf("max in flight: %d is negative", c.MaxInFlight)
	}
	names := map[string]bool{}
	for i, t := range c.Traffic {
		t = t.withDefaults(c)
		if err := t.validate(); err != nil {
			return fmt.Errorf("traffic[%d] %s: %w", i, t.Name, err)
		}
		if names[t.Name] {
			return fmt.Errorf("traffic[%d] name: %q is used twice", i, t.Name)
		}
		names[t.Name] = true
	}
	return nil
}

func (t Traffic) validate() error {
	open := t.Pattern == NewConnection || t.Pattern == KeepAlive
	switch {
	case !open && t.Pattern != InFlight:
		return fmt.Errorf("pattern: unknown %q", t.Pattern)
	case open && !(t.Rate > 0 && t.Rate <= 1e6):
		return fmt.Errorf("rate: %v is not in (0, 1000000] per second", t.Rate)
	case t.Pattern != NewConnection && (t.Clients < 1 || t.Clients > 100_000):
		return fmt.Errorf("clients: %d is not from 1 to 100000", t.Clients)
	case t.PayloadBytes < 0 || t.PayloadBytes > 1<<30:
		return fmt.Errorf("payload bytes: %d is not from 0 to 1 GiB", t.PayloadBytes)
	case t.Raw && t.PayloadBytes == 0:
		return errors.New("payload bytes: a raw echo needs at least 1")
	case !t.Raw && !strings.HasPrefix(t.Path, "/"):
		return fmt.Errorf("path: %q does not begin with /", t.Path)
	case strings.ContainsAny(t.Path+t.Method+t.Host, " \r\n"):
		return fmt.Errorf("path, method or host: contains a space or a line break")
	case t.Raw && t.HTTP2:
		return errors.New("raw: is not HTTP/2")
	}
	if err := validateHeader(t.Header); err != nil {
		return err
	}
	to, err := parseTarget(t.Target)
	if err == nil && to.scheme == "tcp" && !t.Raw {
		err = fmt.Errorf("target: %s is no HTTP; send raw traffic, or write http://", t.Target)
	}
	return err
}

// validateHeader reports a field that cannot be sent, or is the engine's to
// set.
func validateHeader(h http.Header) error {
	for name, values := range h {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Expect", "Te", "Trailer":
			return fmt.Errorf("header: %s is not for the caller to set", name)
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header: %q is no name of a field", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("header: %s cannot be %q", name, v)
			}
		}
	}
	return nil
}

// descriptors is how many connections c has open at least, all at a time.
func (c Config) descriptors() uint64 {
	var n uint64
	for _, t := range c.Traffic {
		if t.Pattern != NewConnection {
			n += uint64(t.Clients)
		}
	}
	return n
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.Bucket = orDefault(c.Bucket, DefaultBucket)
	c.AfterEvent = orDefault(c.AfterEvent, DefaultAfterEvent)
	c.GenerationHeader = orDefault(c.GenerationHeader, DefaultGenerationHeader)
	c.Requests = orDefault(c.Requests, noLimit)
	traffic := make([]Traffic, len(c.Traffic))
	for i, t := range c.Traffic {
		traffic[i] = t.withDefaults(c)
	}
	c.Traffic = traffic
	return c
}

func (t Traffic) withDefaults(c Config) Traffic {
	t.Name = orDefault(t.Name, string(t.Pattern))
	t.Target = orDefault(t.Target, c.Target)
	t.Path = orDefault(t.Path, "/")
	t.Status = orDefault(t.Status, http.StatusOK)
	if t.Method == "" {
		t.Method = http.MethodGet
		if t.PayloadBytes > 0 {
			t.Method = http.MethodPost
		}
	}
	return t
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
