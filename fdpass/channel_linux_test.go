package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

func TestEveryMessageArrivesAsItWasSent(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	for _, m := range samples() {
		if err := supervisor.Send(m); err != nil {
			t.Fatal(err)
		}
		got, fds, err := child.Receive()
		if err != nil || len(fds) != 0 || !reflect.DeepEqual(got, m) {
			t.Errorf("got %#v, %v, %v; want %#v", got, fds, err, m)
		}
	}
}

func TestPointersToMessagesAreSentLikeMessages(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	probe := listenTCP(t)
	w := &Welcome{Protocol: Protocol, Service: "api", Generation: 1, Probe: true}
	if err := supervisor.Send(w, probe); err != nil {
		t.Fatal(err)
	}
	got, fds, err := child.Receive()
	if err != nil || len(fds) != 1 || got != *w {
		t.Fatalf("got %#v, %v, %v", got, fds, err)
	}
	closeFDs(fds)
}

func TestReceivedDescriptorsAreCloseOnExec(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	l := listeners(t, 1)[0]
	if _, err := unix.FcntlInt(uintptr(l.FD), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Send(Listeners{Batch: 1, Of: 1, Listeners: []Listener{l}}, l.FD); err != nil {
		t.Fatal(err)
	}
	_, fds, err := child.Receive()
	if err != nil {
		t.Fatal(err)
	}
	defer closeFDs(fds)
	if flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if fds[0] == l.FD {
		t.Error("the same descriptor came back")
	}
}

func TestSendRefusesWhatReceiveWould(t *testing.T) {
	leaktest.Check(t)
	supervisor, _ := conns(t)
	fd := listenTCP(t)
	for _, c := range []struct {
		m    Message
		fds  []int
		text string
	}{
		{Pause{}, nil, "cannot send pause: id must be from 1"},
		{Ready{}, []int{fd}, "it needs 0 descriptors, not 1"},
		{Welcome{Protocol: 1, Service: "a", Generation: 1, Probe: true}, nil, "it needs 1 descriptors, not 0"},
		{Stats{Listeners: manyStats(500)}, nil, "a packet holds 65536"},
	} {
		wantText(t, supervisor.Send(c.m, c.fds...), c.text)
	}
}

func manyStats(n int) []ListenerStats {
	all := make([]ListenerStats, n)
	for i := range all {
		all[i] = ListenerStats{Name: fmt.Sprintf("%d-%s", i, strings.Repeat("x", 200)), Durations: make([]uint64, 20)}
	}
	return all
}

func TestLongReasonIsCutNotLost(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := child.Send(Failed{Reason: "\x1b[31m" + strings.Repeat("é", MaxReason) + "\xff"}); err != nil {
		t.Fatal(err)
	}
	m, _, err := supervisor.Receive()
	if err != nil {
		t.Fatal(err)
	}
	reason := m.(Failed).Reason
	if len(reason) > MaxReason || len(reason) < MaxReason-8 || !strings.HasPrefix(reason, "?[31mé") || !strings.HasSuffix(reason, "é ...") {
		t.Errorf("%d bytes: %.20q ... %q", len(reason), reason, reason[len(reason)-10:])
	}
}

func TestReasonOfAHostilePeerIsPrintable(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := child.sendText(`{"type":"failed","reason":"\u001b]0;owned\u0007 line\nnext\u009b1m"}`); err != nil {
		t.Fatal(err)
	}
	if m, _, err := supervisor.Receive(); err != nil || m != (Failed{Reason: "?]0;owned? line\nnext?1m"}) {
		t.Errorf("got %#v, %v", m, err)
	}
}

func TestEndOfChannelIsEOF(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := child.Send(Ready{}); err != nil {
		t.Fatal(err)
	}
	child.Close()
	if m, _, err := supervisor.Receive(); err != nil || m != (Ready{}) {
		t.Errorf("got %v, %v before the end", m, err)
	}
	for range 2 {
		if _, _, err := supervisor.Receive(); err != io.EOF {
			t.Errorf("error is %v, want io.EOF", err)
		}
	}
	if err := supervisor.Send(Ready{}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("error is %v, want EPIPE", err)
	}
}

// The kernel reports ECONNRESET once, ahead of what was sent before.
func TestLastWordsSurviveUnreadMessages(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := supervisor.Send(Pause{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := child.Send(Failed{Reason: "last words"}); err != nil {
		t.Fatal(err)
	}
	child.Close()
	all, err := untilEOF(supervisor)
	if err != nil || len(all) != 1 || all[0] != (Failed{Reason: "last words"}) {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestSendToAPeerThatLeftUnreadMessagesIsEPIPE(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := supervisor.Send(Pause{ID: 1}); err != nil {
		t.Fatal(err)
	}
	child.Close()
	for range 2 {
		if err := supervisor.Send(Pause{ID: 2}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("error is %v, want EPIPE", err)
		}
	}
}

func TestCloseInterruptsReceiveAndSend(t *testing.T) {
	leaktest.Check(t)
	supervisor, _ := conns(t)
	var done sync.WaitGroup
	done.Go(func() {
		if _, _, err := supervisor.Receive(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Receive: %v", err)
		}
	})
	full := make(chan struct{})
	done.Go(func() {
		if err := fill(supervisor, full); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	})
	<-full
	if err := supervisor.Close(); err != nil {
		t.Error(err)
	}
	done.Wait()
	if err := supervisor.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// fill sends until it fails; full is closed when many were sent, at which the
// peer's queue is about to be full.
func fill(c *Conn, full chan<- struct{}) error {
	for i := 0; ; i++ {
		if i == 4 {
			close(full)
		}
		if err := c.Send(Error{Reason: strings.Repeat("x", MaxReason)}); err != nil {
			return err
		}
	}
}

func TestDeadlinesInterruptAndCanBeMoved(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	past := time.Now().Add(-time.Second)
	supervisor.SetReadDeadline(past)
	if _, _, err := supervisor.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive: %v", err)
	}
	supervisor.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, _, err := supervisor.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive that waits: %v", err)
	}
	supervisor.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if err := fill(supervisor, make(chan struct{})); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Send: %v", err)
	}
	supervisor.SetReadDeadline(time.Time{})
	if err := child.Send(Ready{}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := supervisor.Receive(); err != nil || m != (Ready{}) {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestSendersDoNotMix(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	const senders, each = 8, 200
	var done sync.WaitGroup
	for s := range senders {
		done.Go(func() {
			for i := range each {
				if err := child.Send(Paused{ID: uint64(s + 1), Accepted: uint64(i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make(map[uint64]uint64)
	for range senders * each {
		m, _, err := supervisor.Receive()
		if err != nil {
			t.Fatal(err)
		}
		p := m.(Paused)
		if p.Accepted != next[p.ID] {
			t.Fatalf("sender %d: got %d, want %d", p.ID, p.Accepted, next[p.ID])
		}
		next[p.ID]++
	}
	done.Wait()
}

func TestReceiversDoNotMix(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	const receivers, each = 4, 100
	var done sync.WaitGroup
	var sum atomic.Uint64
	for range receivers {
		done.Go(func() {
			for range each {
				m, _, err := supervisor.Receive()
				if err != nil {
					t.Error(err)
					return
				}
				sum.Add(m.(Pause).ID)
			}
		})
	}
	want := uint64(0)
	for i := range uint64(receivers * each) {
		want += i + 1
		if err := child.Send(Pause{ID: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	if sum.Load() != want {
		t.Errorf("got %d, want %d", sum.Load(), want)
	}
}

func TestPeerIsWhoConnected(t *testing.T) {
	leaktest.Check(t)
	supervisor, _ := conns(t)
	pid, uid, err := supervisor.Peer()
	if err != nil || pid != os.Getpid() || uid != os.Getuid() {
		t.Errorf("pid %d, uid %d, %v", pid, uid, err)
	}
	supervisor.Close()
	if _, _, err := supervisor.Peer(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
