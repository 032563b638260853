package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handler is a server without faults.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", "7")
		io.WriteString(w, "hello\n")
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", "7")
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		<-time.After(30 * time.Millisecond)
		io.WriteString(w, "slow\n")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for i := range 10 {
			fmt.Fprintf(w, "line %d\n", i)
			w.(http.Flusher).Flush()
			<-time.After(20 * time.Millisecond)
		}
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "more\n")
			w.(http.Flusher).Flush()
			<-time.After(5 * time.Millisecond)
		}
	})
	return mux
}

func goodServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(handler())
	t.Cleanup(s.Close)
	return s.URL
}

// A fault handles one connection; requests have been read by readRequest. The
// server closes the connection afterwards.
type fault func(s *faultServer, c *net.TCPConn, r *bufio.Reader)

// A faultServer answers every connection with a fault.
type faultServer struct {
	url      string
	done     chan struct{} // closed when the test ends
	requests atomic.Int64  // that arrived
}

func newFaultServer(t *testing.T, f fault) *faultServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &faultServer{url: "http://" + l.Addr().String(), done: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(t.Context(), func() { c.SetDeadline(time.Unix(1, 0)) })
				defer stop()
				f(s, c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		close(s.done)
		l.Close()
		all.Wait()
	})
	return s
}

// readRequest reads one request with its body.
func (s *faultServer) readRequest(r *bufio.Reader) bool {
	request, err := http.ReadRequest(r)
	if err == nil {
		_, err = io.Copy(io.Discard, request.Body)
	}
	if err == nil {
		s.requests.Add(1)
	}
	return err == nil
}

// run sends traffic to the end and checks what is true of every report.
func run(t *testing.T, c Config) Report {
	t.Helper()
	r, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	report := r.Stop()
	checkSums(t, report)
	checkClosed(t, r)
	return report
}

// checkClosed checks that every connection was closed by its user, and not
// left for the end of the run.
func checkClosed(t *testing.T, r *Run) {
	t.Helper()
	for _, l := range r.loops {
		for i := range l.dialer.live {
			if n := len(l.dialer.live[i].open); n > 0 {
				t.Errorf("%s: %d connections were not closed", l.Name, n)
			}
		}
	}
}

func checkSums(t *testing.T, r Report) {
	t.Helper()
	var kinds uint64
	for _, n := range r.FailedByKind {
		kinds += n
	}
	if r.Requests != r.OK+r.Failed+r.Unfinished || r.Failed != kinds || r.Requests == 0 {
		t.Errorf("%d requests, %d OK, %d failed, %d unfinished, by kind %v", r.Requests, r.OK, r.Failed, r.Unfinished, r.FailedByKind)
	}
	for _, l := range r.Traffic {
		points := 0
		for _, p := range l.Series {
			points += p.OK + p.Failed
		}
		if l.Requests != l.OK+l.Failed+l.Unfinished || l.OK != uint64(l.All.Count) ||
			l.All.Count != l.Steady.Count+l.AfterEvent.Count || points != int(l.OK+l.Failed) {
			t.Errorf("%s does not add up: %+v", l.Name, l)
		}
	}
}
