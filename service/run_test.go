package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestDrainBeforeRunEndsIt(t *testing.T) {
	t.Parallel()
	c := supervise(t, tcpPort("echo")).join(Config{})
	if err := serveEcho(c.service); err != nil {
		t.Fatal(err)
	}
	c.beginDrain(time.Second, false)
	<-c.service.Draining()
	c.run()
	expectReady(c)
	c.drained()
}

func TestServeContextEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("raw"))
	var early, late atomic.Bool
	c := f.start(Config{}, func(s *Service) error {
		return s.Serve("raw", func(ctx context.Context, c net.Conn) {
			<-s.Draining()
			early.Store(ctx.Err() != nil)
			<-ctx.Done()
			late.Store(true)
		})
	})
	dial(t, f.addr())
	eventually(t, "the connection is accepted", func() bool { return c.service.accepted() == 1 })
	c.beginDrain(100*time.Millisecond, false)
	if m := c.drained(); m.Cut != 1 {
		t.Errorf("cut %d", m.Cut)
	}
	if early.Load() || !late.Load() {
		t.Errorf("the context ended early: %v, at the deadline: %v", early.Load(), late.Load())
	}
}

func TestCleanupRunsInReverseWithADeadlineEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(Config{CleanupTimeout: time.Second, Logger: quietLog(t)})
		var mu sync.Mutex // a hook that is left behind runs beside the next
		var order []string
		var took []time.Duration
		last := time.Now()
		add := func(name string, f func(context.Context) error) {
			s.OnCleanup(name, func(ctx context.Context) error {
				mu.Lock()
				order = append(order, name)
				took = append(took, time.Since(last))
				last = time.Now()
				mu.Unlock()
				return f(ctx)
			})
		}
		done := make(chan struct{})
		add("database", func(context.Context) error { return nil })
		add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		add("stubborn", func(context.Context) error { <-done; return nil })
		add("broken", func(context.Context) error { return errors.New("disk full") })
		err := s.cleanup()
		if got := fmt.Sprint(order, took); got != "[broken stubborn slow database] [0s 0s 2s 1s]" {
			t.Errorf("hooks ran as %s", got)
		}
		for _, want := range []string{"cannot clean up broken: disk full", "stubborn: it did not return within 1s", "slow: context deadline"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		close(done)
	})
}

// TestListenerThatIsRevivedServesOn: another generation called shutdown(2), and
// the supervisor has the listener listen again.
func TestListenerThatIsRevivedServesOn(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	log := make(logged, 100)
	f.start(Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, serveEcho)
	fd := f.listeners[0].FD
	for range 2 {
		shutdownListener(t, fd)
		log.await("shutdown(2)")
		if err := unix.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
		at, err := unix.Getsockname(fd) // another port: this one was the kernel's choice
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, dial(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}))
	}
}

// logged are lines of a log.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// await returns when a line with these words was logged.
func (l logged) await(words string) {
	for line := range l {
		if strings.Contains(line, words) {
			return
		}
	}
}

func TestServerThatCannotAcceptEndsTheService(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("echo"))
	c := f.start(Config{}, serveEcho)
	shutdownListener(t, f.listeners[0].FD)
	m := expect[fdpassFailed](c)
	if !strings.Contains(m.Reason, `listener "echo"`) {
		t.Errorf("failed: %q", m.Reason)
	}
	if err := <-c.ended; err == nil {
		t.Error("Run returned no error")
	}
}
