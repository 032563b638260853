package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

func nonBlocking(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}

// echo serves connections until their client ends.
func echo(_ context.Context, c net.Conn) { _, _ = io.Copy(c, c) }

func serveEcho(s *Service) error { return s.Serve(s.Names()[0], echo) }

// roundTrip sends a byte over c and waits for its echo.
func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("no echo: %v", err)
	}
}

func TestPausedServesOpenConnectionsAndAcceptsNone(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{tcpPort("echo"), "echo=unix://" + t.TempDir() + "/s"} {
		f := supervise(t, spec)
		c := f.start(Config{}, serveEcho)
		open := dial(t, f.addr())
		roundTrip(t, open)

		if m := c.pause(); m.Accepted != 1 {
			t.Errorf("paused after %d connections", m.Accepted)
		}
		roundTrip(t, open)
		var queued []net.Conn
		for range 5 {
			queued = append(queued, dial(t, f.addr()))
		}
		if again := c.pause(); again.Accepted != 1 {
			t.Errorf("accepted %d connections while paused", again.Accepted-1)
		}
		c.resume()
		for _, q := range queued {
			roundTrip(t, q)
		}
	}
}

// TestNothingIsAcceptedAfterPaused pauses while clients connect as fast as they
// can: what Paused says is the last word, and every connection is served.
func TestNothingIsAcceptedAfterPaused(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	c := f.start(Config{}, serveEcho)
	var quit atomic.Bool
	var clients sync.WaitGroup
	var served atomic.Int64
	for range 4 {
		clients.Go(func() {
			for !quit.Load() {
				d, err := net.Dial("tcp", f.addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				b := []byte{1}
				_ = d.SetDeadline(time.Now().Add(20 * time.Second))
				if _, err := d.Write(b); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(d, b); err != nil {
					t.Error(err)
				}
				served.Add(1)
				d.Close()
			}
		})
	}
	for range 50 {
		m := c.pause()
		wait(2 * time.Millisecond)
		if now := c.service.accepted(); now != m.Accepted {
			t.Errorf("%d connections were accepted after paused", now-m.Accepted)
		}
		before := served.Load()
		c.resume()
		eventually(t, "connections are served again", func() bool { return served.Load() > before })
	}
	quit.Store(true)
	clients.Wait()
	t.Logf("%d connections served", served.Load())
}

func TestPauseAnswersEachRequest(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).start(Config{}, serveEcho)
	for range 3 {
		c.pause()
	}
	c.resume()
	c.resume()
}

func TestUnknownRequestIsAnsweredWithAnError(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).start(Config{}, serveEcho)
	c.send(fdpass.Ready{})
	expect[fdpass.Error](c)
	c.pause() // the channel still works
}

func TestDrainingCannotBeResumed(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	c := f.start(Config{}, serveEcho)
	open := dial(t, f.addr())
	roundTrip(t, open)
	c.beginDrain(20*time.Second, false)
	<-c.service.Draining()
	c.send(fdpass.Resume{ID: 99})
	expect[fdpass.Error](c)
	roundTrip(t, open)
	open.Close()
	c.drained()
}

func TestServiceOutlivesItsSupervisor(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		f := supervise(t, tcpPort("echo"))
		c := f.start(Config{DrainTimeout: 20 * time.Second}, serveEcho)
		if paused {
			c.pause()
		}
		c.conn.Close()
		for range 3 {
			d := dial(t, f.addr())
			roundTrip(t, d)
			d.Close()
		}
		last := dial(t, f.addr())
		roundTrip(t, last)
		c.cancel()
		<-c.service.Draining()
		roundTrip(t, last)
		last.Close()
		if err := <-c.ended; err != nil {
			t.Error(err)
		}
	}
}

// TestClearedNonBlockingIsSetAgainByPause clears O_NONBLOCK as a foreign process that shares
// the socket may do; pausing must not wait for the next client.
func TestClearedNonBlockingIsSetAgainByPause(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	c := f.start(Config{}, serveEcho)
	roundTrip(t, dial(t, f.addr()))
	// The Accept that waits now sits in the poller, not in accept(2).
	eventually(t, "the service waits for the next connection", func() bool {
		return c.service.endpoints[0].listener.gate.state.Load() == 1
	})
	wait(20 * time.Millisecond)
	if err := unix.SetNonblock(f.listeners[0].FD, false); err != nil {
		t.Fatal(err)
	}
	c.pause()
	if !nonBlocking(t, f.listeners[0].FD) {
		t.Error("the listener still blocks")
	}
	c.resume()
	roundTrip(t, dial(t, f.addr()))
}

// onMessage is a slog.Handler that calls a function when something is logged.
type onMessage struct {
	slog.Handler
	message string
	do      func()
}

func (h onMessage) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.message) {
		h.do()
	}
	return h.Handler.Handle(ctx, r)
}

func (onMessage) Enabled(context.Context, slog.Level) bool { return true }

// TestWhatADrainHasShutStaysShut: a drain may begin at the moment at which the
// end of the channel would have the service accept again.
func TestWhatADrainHasShutStaysShut(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	var c *fakeChild
	joined := make(chan struct{})
	log := onMessage{Handler: quietLog(t).Handler(), message: "serving on", do: func() {
		<-joined
		c.service.drain.order(20*time.Second, false)
		c.service.pause()
	}}
	c = f.join(Config{Logger: slog.New(log)})
	close(joined)
	session := c.service.control.now()
	c.conn.Close()
	<-session.ended
	_ = c.service.control.close() // joins what ends the session
	if !c.service.endpoints[0].listener.gate.paused {
		t.Error("the end of the channel opened what the drain had shut")
	}
	if err := c.service.abandon(); err != nil {
		t.Error(err)
	}
}
