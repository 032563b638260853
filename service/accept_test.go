package service

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A brokeListener fails for a while, and is then closed.
type brokeListener struct {
	left atomic.Int32
	err  error
}

func newBrokeListener(left int32, err error) *brokeListener {
	l := &brokeListener{err: err}
	l.left.Store(left)
	return l
}

func (l *brokeListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: l.err}
	}
	return nil, net.ErrClosed
}

func (l *brokeListener) Close() error                          { return nil }
func (l *brokeListener) Addr() net.Addr                        { return &net.TCPAddr{} }
func (l *brokeListener) SetDeadline(time.Time) error           { return nil }
func (l *brokeListener) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }
func (l *brokeListener) listener(draining <-chan struct{}) *listener {
	own := &listener{inner: l, conns: newRegistry(), closed: make(chan struct{}), draining: draining}
	own.log = slog.New(slog.DiscardHandler)
	own.gate.setDeadline = l.SetDeadline
	return own
}

func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBrokeListener(12, unix.EMFILE).listener(nil)
		start := time.Now()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		// 5, 10, ... 640 ms, then a second each.
		if took := time.Since(start); took != 1275*time.Millisecond+4*time.Second {
			t.Errorf("12 failures took %v", took)
		}
	})
}

// TestAcceptThatBacksOffHoldsNothingUp: neither a pause nor the end waits for
// it, and a service that drains tries again often.
func TestAcceptThatBacksOffHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining := make(chan struct{})
		broke := newBrokeListener(1000, unix.ENOBUFS)
		l := broke.listener(draining)
		var accepting sync.WaitGroup
		accepting.Go(func() {
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		<-time.After(10*time.Second + 500*time.Millisecond)
		start := time.Now()
		<-l.pause()
		l.resume()
		close(draining)
		before := broke.left.Load()
		<-time.After(51 * time.Millisecond)
		synctest.Wait()
		if tries := before - broke.left.Load(); tries != 10 {
			t.Errorf("%d attempts in 50 ms of a drain", tries)
		}
		l.Close()
		accepting.Wait()
		if took := time.Since(start); took != 51*time.Millisecond {
			t.Errorf("pause and close waited for %v", took-51*time.Millisecond)
		}
	})
}

// A flakyListener fails before it accepts.
type flakyListener struct {
	streamListener
	errors atomic.Pointer[[]syscall.Errno]
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if left := *l.errors.Load(); len(left) > 0 {
		rest := left[1:]
		l.errors.Store(&rest)
		return nil, &net.OpError{Op: "accept", Err: left[0]}
	}
	return l.streamListener.Accept()
}

// TestServersSurviveErrorsThatPass: net/http would end its server for all of
// these but EMFILE.
func TestServersSurviveErrorsThatPass(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	c := f.start(Config{Logger: slog.New(slog.DiscardHandler)}, func(s *Service) error {
		l := s.endpoints[0].listener
		flaky := &flakyListener{streamListener: l.inner}
		flaky.errors.Store(&[]syscall.Errno{unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.ENETDOWN, unix.EMFILE})
		l.inner = flaky
		return s.ServeHTTP("http", &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "ok")
		})})
	})
	client := rawDial(t, f.addr())
	client.write("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
	client.answer("ok")
	c.beginDrain(20*time.Second, false)
	c.drained()
}
