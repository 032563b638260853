package service

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A lossCount counts requests by their end.
type lossCount struct {
	ok, failed atomic.Int64
	mu         sync.Mutex
	reasons    map[string]int
}

func (l *lossCount) add(err error) {
	if err == nil {
		l.ok.Add(1)
		return
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reasons == nil {
		l.reasons = make(map[string]int)
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	l.reasons[text]++
}

// A poster sends requests that must be handled exactly once.
type poster struct {
	client *http.Client
	url    string
	// again: the body can be sent again. A POST is not repeated by net/http
	// even so over HTTP/1; over HTTP/2 it is, if it is certain that the server
	// did not see it (RFC 9113, 8.7).
	again bool
}

func (p poster) post(id string) error {
	body := "the body of request " + id
	r, err := http.NewRequest(http.MethodPost, p.url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Id", id)
	if !p.again {
		r.GetBody = nil
	}
	response, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if string(got) != body {
		return fmt.Errorf("status %s, body %q", response.Status, got)
	}
	return nil
}

// load posts from n goroutines until stop is called, which joins them.
func load(n int, makePoster func() poster) (count *lossCount, stop func()) {
	count = &lossCount{}
	var quit atomic.Bool
	var clients sync.WaitGroup
	for client := range n {
		clients.Go(func() {
			p := makePoster()
			defer p.client.CloseIdleConnections()
			for i := 0; !quit.Load(); i++ {
				count.add(p.post(fmt.Sprintf("%d-%d", client, i)))
			}
		})
	}
	return count, func() {
		quit.Store(true)
		clients.Wait()
	}
}

// An exactlyOnce handler echoes bodies and counts the requests that it has seen
// before.
type exactlyOnce struct {
	seen   sync.Map
	repeat atomic.Int64
}

func (e *exactlyOnce) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, again := e.seen.LoadOrStore(r.Header.Get("X-Id"), true); again {
		e.repeat.Add(1)
	}
	echoHandler().ServeHTTP(w, r)
}

func echoHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err == nil {
			_, _ = w.Write(b.Bytes())
		}
	})
}

// handOver replaces the running generation n times, with a pause and a drain as
// a supervisor does, and returns the last one.
func handOver(f *fakeSupervisor, n int, every time.Duration, build func(*Service) error) (last *fakeChild) {
	f.t.Helper()
	old := f.start(Config{}, build)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for range n {
		<-ticker.C
		next := f.start(Config{}, build)
		old.pause()
		old.beginDrain(20*time.Second, false)
		if m := old.drained(); m.Cut != 0 {
			f.t.Errorf("%d connections were cut", m.Cut)
		}
		old = next
	}
	<-ticker.C
	return old
}

const clientTimeout = 20 * time.Second

func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func newConnections() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: anyCertificate()}, Timeout: clientTimeout}
}

func keepAlive() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: anyCertificate()}, Timeout: clientTimeout}
}

func http2Clear() *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: t, Timeout: clientTimeout}
}

func http2TLS() *http.Client {
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: anyCertificate()}, Timeout: clientTimeout}
}

// shared makes all goroutines of a load share one client.
func shared(client func() *http.Client) func() *http.Client { return sync.OnceValue(client) }

// serveHTTPWith registers a server made by make.
func serveHTTPWith(make func() *http.Server) func(*Service) error {
	return func(s *Service) error {
		srv := make()
		if srv.TLSConfig != nil {
			return s.ServeHTTPS("http", srv)
		}
		return s.ServeHTTP("http", srv)
	}
}

// TestHandoverLosesNoRequest hands one listener from generation to generation
// while clients post as fast as they can.
func TestHandoverLosesNoRequest(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	plain := func(h http.Handler) *http.Server { return &http.Server{Handler: h} }
	secure := func(h http.Handler) *http.Server {
		return &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	}
	clear := func(h http.Handler) *http.Server {
		p := new(http.Protocols)
		p.SetHTTP1(true)
		p.SetHTTP2(true)
		p.SetUnencryptedHTTP2(true)
		return &http.Server{Handler: h, Protocols: p}
	}
	for _, test := range []struct {
		name   string
		scheme string
		server func(http.Handler) *http.Server
		client func() *http.Client
		again  bool
	}{
		{"new connections", "http", plain, newConnections, false},
		{"keep-alive", "http", plain, keepAlive, false},
		{"keep-alive beside HTTP2 without TLS", "http", clear, keepAlive, false},
		{"TLS new connections", "https", secure, newConnections, false},
		{"TLS keep-alive", "https", secure, keepAlive, false},
		{"HTTP2", "https", secure, http2TLS, true},
		{"HTTP2 many streams", "https", secure, shared(http2TLS), true},
		{"HTTP2 without TLS", "http", clear, http2Clear, true},
		{"HTTP2 without TLS many streams", "http", clear, shared(http2Clear), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := supervise(t, tcpPort("http"))
			url := test.scheme + "://" + f.addr().String() + "/echo"
			count, stop := load(8, func() poster { return poster{test.client(), url, test.again} })
			handler := &exactlyOnce{}
			last := handOver(f, 25, 60*time.Millisecond, serveHTTPWith(func() *http.Server { return test.server(handler) }))
			stop()
			last.beginDrain(20*time.Second, true)
			last.drained()
			t.Logf("%d ok, %d failed, %d handled twice", count.ok.Load(), count.failed.Load(), handler.repeat.Load())
			if count.failed.Load()+handler.repeat.Load() > 0 || count.ok.Load() < 100 {
				t.Errorf("failures: %v", count.reasons)
			}
		})
	}
}
