package service

import (
	"crypto/tls"
	"net/http"
	"testing"
)

// wantAnswered waits for the number of answered requests of a listener.
func wantAnswered(t *testing.T, s *Service, i int, want uint64) {
	t.Helper()
	eventually(t, "the answers are counted", func() bool { return s.endpoints[i].counts().answered >= want })
	if got := s.endpoints[i].stats().Answered; got != want {
		t.Errorf("%d answered on listener %d, want %d", got, i, want)
	}
}

// TestAnsweredRequestsAreCounted, one by one on a kept connection; a request
// that is being worked on is not, and a connection that was taken over counts
// when it was.
func TestAnsweredRequestsAreCounted(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	c := rawDial(t, s.f.addr())
	for range 3 {
		c.write(getOK)
		c.answer("ok")
	}
	wantAnswered(t, s.service, 0, 3)
	c.write("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
	<-s.started
	hijacked := rawDial(t, s.f.addr())
	hijacked.write("GET /hijack HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	<-s.started
	wantAnswered(t, s.service, 0, 4)
	s.release <- struct{}{}
	s.release <- struct{}{}
	c.answer("slow")
	wantAnswered(t, s.service, 0, 5)
}

// TestAnsweredRequestsCountForTheirListener: one server may serve several. The
// server ends the connection of a handler that panics: no answer.
func TestAnsweredRequestsCountForTheirListener(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("one"), tcpPort("two"))
	c := f.start(Config{}, func(s *Service) error {
		srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ok" {
				panic(http.ErrAbortHandler)
			}
		})}
		if err := s.ServeHTTP("one", srv); err != nil {
			return err
		}
		return s.ServeHTTP("two", srv)
	})
	client := rawDial(t, f.addr())
	client.write(getOK)
	client.answer("")
	client.write("GET /abort HTTP/1.1\r\nHost: test\r\n\r\n")
	client.ended()
	wantAnswered(t, c.service, 0, 1)
	wantAnswered(t, c.service, 1, 0)
}

// TestAnsweredStreamsAreCounted: each stream of an HTTP/2 connection is a
// request.
func TestAnsweredStreamsAreCounted(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	for _, secure := range []bool{true, false} {
		f := supervise(t, tcpPort("http"))
		started, release := make(chan struct{}), make(chan struct{})
		c := f.start(Config{}, serveHTTPWith(func() *http.Server {
			srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				started <- struct{}{}
				<-release
			})}
			if secure {
				srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			} else {
				srv.Protocols = new(http.Protocols)
				srv.Protocols.SetUnencryptedHTTP2(true)
			}
			return srv
		}))
		scheme := map[bool]string{true: "https", false: "http"}[secure]
		client := frameDial(t, f.addr(), secure)
		for _, stream := range []uint32{1, 3, 5} {
			client.request(stream, scheme)
			<-started
		}
		wantAnswered(t, c.service, 0, 0)
		release <- struct{}{}
		release <- struct{}{}
		wantAnswered(t, c.service, 0, 2)
		close(release)
		client.until(1, 3, 5)
		wantAnswered(t, c.service, 0, 3)
	}
}
