package demo

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts what is accepted.
type counted struct {
	net.Listener
	accepted atomic.Int64
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// staller serves the example with the fault Stall, which shows once shows is
// set and ends once end is called.
func staller(t *testing.T) (l *counted, shows *atomic.Bool, hung <-chan struct{}, end func()) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, shows = &counted{Listener: inner}, new(atomic.Bool)
	over, hangs := make(chan struct{}), make(chan struct{}, 10)
	hook := stallFrom(shows, over)
	server := &http.Server{Handler: Example{}.routes(1), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		if shows.Load() {
			hangs <- struct{}{}
		}
		return hook(ctx, c)
	}}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	end = sync.OnceFunc(func() { close(over) })
	t.Cleanup(func() {
		end()
		server.Close()
		serving.Wait()
	})
	return l, shows, hangs, end
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func post(c *http.Client, l net.Listener) error {
	response, err := c.Post("http://"+l.Addr().String()+"/echo", "text/plain", bytes.NewReader([]byte("hello")))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// A kept is one connection for many requests. An http.Client opens another one
// when it was slow to learn that the last request was written (50 ms).
type kept struct {
	net.Conn
	answers *bufio.Reader
}

func keep(t *testing.T, l net.Listener) *kept {
	t.Helper()
	c, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &kept{c, bufio.NewReader(c)}
}

func (k *kept) post() error {
	if err := k.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(k, "POST /echo HTTP/1.1\r\nHost: demo\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
		return err
	}
	response, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// What was accepted is served while nothing more is accepted, and at the end
// nobody has lost anything.
func TestStallAcceptsNoMoreAndServesTheOthers(t *testing.T) {
	t.Parallel()
	l, shows, hung, end := staller(t)
	before := keep(t, l)
	if err := before.post(); err != nil {
		t.Fatal(err)
	}
	shows.Store(true)
	const late = 5
	answered := make(chan error, late)
	for range late {
		c := client(t)
		go func() { answered <- post(c, l) }() // joined by what it answers
	}
	select {
	case <-hung:
	case <-time.After(10 * time.Second):
		t.Fatal("does not stall")
	}
	for range 100 {
		if err := before.post(); err != nil {
			t.Fatalf("a connection from before: %v", err)
		}
	}
	if n := l.accepted.Load(); n != 2 {
		t.Errorf("%d connections were accepted, want the first and the one that hangs", n)
	}
	if len(answered) > 0 {
		t.Error("a later one is answered")
	}
	end()
	for range late {
		if err := <-answered; err != nil {
			t.Errorf("a connection that waited: %v", err)
		}
	}
}

func TestLatentFaultsWaitForTheirSignal(t *testing.T) {
	t.Parallel()
	for f, want := range map[Fault]bool{Sound: false, Crash: false, Sick: true, Stall: true} {
		if f.latent() != want {
			t.Errorf("%q is latent: %v", f, !want)
		}
	}
}
