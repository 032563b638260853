package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// bothVersions serves HTTP/1.1, and HTTP/2 by prior knowledge.
func bothVersions(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// http2Servers are real servers: without TLS and with it.
func http2Servers(t *testing.T, h http.Handler) map[string]Config {
	t.Helper()
	secure := httptest.NewUnstartedServer(h)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	return map[string]Config{
		"prior knowledge": {Target: bothVersions(t, h)},
		"TLS":             {Target: secure.URL, TLS: &tls.Config{InsecureSkipVerify: true}},
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	for name, c := range http2Servers(t, handler()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Duration = 500 * time.Millisecond
			c.Traffic = []Traffic{
				{Pattern: NewConnection, Rate: 40, Body: "hello\n"},
				{Name: "large", Pattern: NewConnection, Rate: 4, Path: "/echo", PayloadBytes: 1_200_000, Echo: true},
				{Pattern: KeepAlive, Clients: 4, Rate: 50, Path: "/echo", PayloadBytes: 64, Echo: true},
				{Name: "large kept", Pattern: KeepAlive, Clients: 1, Rate: 4, Path: "/echo", PayloadBytes: 1_200_000, Echo: true},
				{Name: "head", Pattern: KeepAlive, Clients: 1, Rate: 20, Method: "HEAD"},
				{Name: "missing", Pattern: KeepAlive, Clients: 1, Rate: 20, Method: "PUT", Path: "/echo", Status: 405},
				{Name: "slow", Pattern: InFlight, Clients: 2, Path: "/slow", Body: "slow\n"},
				{Name: "stream", Pattern: InFlight, Clients: 2, Path: "/stream", BodyBytes: 70},
			}
			for i := range c.Traffic {
				c.Traffic[i].HTTP2 = true
			}
			r := run(t, c)
			if r.Failed > 0 || r.Unfinished > 0 || r.Resent > 0 {
				t.Errorf("failed %v, unfinished %d, resent %d: %+v", r.FailedByKind, r.Unfinished, r.Resent, r.Traffic)
			}
			want := map[string]uint64{"new-connection": 20, "large": 2, "keep-alive": 100, "large kept": 2, "head": 10, "missing": 10}
			for _, l := range r.Traffic {
				if n := want[l.Name]; n != 0 && l.Requests != n {
					t.Errorf("%s: %d requests, want %d", l.Name, l.Requests, n)
				}
				if l.Pattern == KeepAlive && l.Connections > 4 || l.Pattern != KeepAlive && l.Connections != l.Requests {
					t.Errorf("%s: %d connections for %d requests", l.Name, l.Connections, l.Requests)
				}
			}
			if n := r.Generations["7"]; n != 20+2+100+2+10 { // the 405 does not name one
				t.Errorf("generations %v", r.Generations)
			}
		})
	}
}

// TestRequestsShareAConnection: more of them are in flight than there are
// connections, and none waits for another.
func TestRequestsShareAConnection(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	url := bothVersions(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n := now.Add(1); ; {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		<-time.After(100 * time.Millisecond)
		now.Add(-1)
	}))
	r := run(t, Config{Target: url, Duration: 500 * time.Millisecond, Traffic: []Traffic{{Pattern: KeepAlive, HTTP2: true, Clients: 1, Rate: 100}}})
	if l := r.Traffic[0]; l.Failed > 0 || l.Connections != 1 || most.Load() < 3 {
		t.Errorf("at most %d at a time: %+v", most.Load(), l)
	}
}

// TestServerThatTakesLeaveLosesNothing: a real server says GOAWAY again and
// again, in the middle of the traffic.
func TestServerThatTakesLeaveLosesNothing(t *testing.T) {
	t.Parallel()
	var plain, secured atomic.Int64 // of each server: they are asked in step
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served := &plain
		if r.TLS != nil {
			served = &secured
		}
		if served.Add(1)%100 == 0 {
			w.Header().Set("Connection", "close") // of HTTP/2: GOAWAY
		}
		io.Copy(w, r.Body)
	})
	for name, c := range http2Servers(t, h) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Duration = time.Second
			c.Traffic = []Traffic{{Pattern: KeepAlive, HTTP2: true, Clients: 2, Rate: 200, PayloadBytes: 50, Echo: true}}
			r := run(t, c)
			if l := r.Traffic[0]; l.Failed > 0 || l.Unfinished > 0 || l.OK != 400 || l.Connections < 3 {
				t.Errorf("%+v", l)
			}
		})
	}
}

// TestServersSetLimits: a server with room for one stream at a time serves them
// one after the other, and each counts from when it was due.
func TestServersSetLimits(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(20 * time.Millisecond)
		io.Copy(w, r.Body)
	}))
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	r := run(t, Config{Target: s.URL, TLS: &tls.Config{InsecureSkipVerify: true}, Duration: 300 * time.Millisecond, Traffic: []Traffic{
		{Pattern: KeepAlive, HTTP2: true, Clients: 1, Rate: 100, PayloadBytes: 20, Echo: true},
	}})
	if l := r.Traffic[0]; l.Failed > 0 || l.OK != 30 || l.Connections != 1 || l.All.MaxMS < 200 {
		t.Errorf("%+v", l)
	}
}

// TestEndOfContextCutsHTTP2Off, and what was in flight is unfinished.
func TestEndOfContextCutsHTTP2Off(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, Config{Target: bothVersions(t, handler()), Duration: time.Minute, Traffic: []Traffic{
		{Pattern: InFlight, HTTP2: true, Clients: 3, Path: "/endless"},
		{Pattern: KeepAlive, HTTP2: true, Clients: 1, Rate: 20, Path: "/endless"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for p := r.Snapshot(); p.InFlight < 5; p = r.Snapshot() {
		<-time.After(time.Millisecond)
	}
	cancel()
	report := r.Stop()
	checkSums(t, report)
	checkClosed(t, r)
	if report.Failed > 0 || report.Unfinished < 5 {
		t.Errorf("failed %v, unfinished %d", report.FailedByKind, report.Unfinished)
	}
}

// TestPlainServerIsNotTakenForHTTP2: the error says so.
func TestPlainServerIsNotTakenForHTTP2(t *testing.T) {
	t.Parallel()
	r := run(t, Config{Target: goodServer(t), Duration: 50 * time.Millisecond, Traffic: []Traffic{
		{Pattern: KeepAlive, HTTP2: true, Clients: 1, Rate: 20},
	}})
	if r.OK > 0 || r.Failed == 0 {
		t.Fatalf("%+v", r)
	}
	if text := fmt.Sprint(r.Traffic[0].Failures); !strings.Contains(text, "does not speak HTTP/2") {
		t.Error(text)
	}
}
