package service

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"example.com/supervisor/fdpass"
)

// probe asks after the health of the service.
func (f *fakeSupervisor) ask(path string) (status int, body string) {
	f.t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.probePath)
		},
	}
	response, err := (&http.Client{Transport: transport}).Get("http://probe" + path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestHealthIsServedOnTheProbe(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo")).withProbe()
	c := f.start(Config{}, serveEcho)
	if status, body := f.ask("/"); status != 200 || body != "ok\n" {
		t.Errorf("default: %d %q", status, body)
	}
	c.service.HandleHealth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "warming up at "+r.URL.Path, http.StatusTooEarly)
	}))
	if status, body := f.ask("/deep"); status != http.StatusTooEarly || body != "warming up at /deep\n" {
		t.Errorf("the program's handler: %d %q", status, body)
	}
	c.service.Fail(errors.New("disk full"))
	if m := expect[fdpass.Failed](c); m.Reason != "disk full" {
		t.Errorf("failed: %q", m.Reason)
	}
	if status, body := f.ask("/deep"); status != 503 || body != "disk full\n" {
		t.Errorf("after Fail: %d %q", status, body)
	}
	roundTrip(t, dial(t, f.addr())) // it goes on serving
}

func TestReadyIsSaidOnce(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).join(Config{})
	if err := serveEcho(c.service); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.service.Ready(); err != nil {
			t.Fatal(err)
		}
	}
	c.run()
	expectReady(c)
	c.pause() // and nothing else came before the answer
}

func TestRunIsCalledOnce(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).start(Config{}, serveEcho)
	if err := c.service.Run(t.Context()); err == nil {
		t.Error("a second Run began")
	}
	if err := c.service.Serve("echo", echo); err == nil {
		t.Error("Serve was accepted after Run")
	}
}
