package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/internal/listen"
	"golang.org/x/sys/unix"
)

// freePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	port, err := findPort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func findPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// held opens a listener and returns its descriptor and the log as well.
func held(t *testing.T, spec string) (*listeners, int, *strings.Builder) {
	t.Helper()
	parsed, err := listen.ParseSpec("http=" + spec)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listen.Open(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	log := new(strings.Builder)
	h, err := holdListeners([]source{{socket: socket}}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h, socket.FD, log
}

func TestShutDownListenerListensAgain(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"a port that was asked for": "127.0.0.1:" + freePort(t), "the kernel's choice": "127.0.0.1:0", "the kernel's choice, IPv6": "[::1]:0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listensAgain(t, address)
		})
	}
}

func listensAgain(t *testing.T, address string) {
	t.Helper()
	h, fd, log := held(t, "tcp://"+address+"?backlog=7")
	for range 2 {
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		if err := h.audit(); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", h.held[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if n := strings.Count(log.String(), `level=ERROR msg="a generation shut down a listener; it listens again`); n != 2 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 7 {
		t.Errorf("backlog %+v, %v; want the listener's own", info, err) // tcp_get_info: tcpi_sacked is sk_max_ack_backlog
	}
}

// TestShutDownIsNoticedAtOnce: clients are refused for as long as a listener is
// shut, so nobody waits for the next look.
func TestShutDownIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	h, fd, _ := held(t, "tcp://127.0.0.1:"+freePort(t))
	ended, looked := make(chan struct{}), make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { h.watch(time.Hour, ended, func() { looked <- struct{}{} }) })
	look := func() {
		t.Helper()
		select {
		case <-looked:
		case <-time.After(patience):
			t.Fatal("nobody looked")
		}
	}
	h.look()
	look() // from now on it is followed
	for range 3 {
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		look()
		conn, err := net.Dial("tcp", h.held[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	select {
	case <-looked:
		t.Error("a client who connects has the listeners looked at")
	case <-time.After(50 * time.Millisecond):
	}
	close(ended)
	watching.Wait()
}

func TestListenerThatIsLostIsAnError(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{
		"unix://" + filepath.Join(t.TempDir(), "s"),
		"unixpacket://" + filepath.Join(t.TempDir(), "p"),
	} {
		for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR} {
			t.Run(fmt.Sprint(strings.SplitN(spec, "/", 2)[0], how), func(t *testing.T) {
				h, fd, _ := held(t, spec)
				if err := h.audit(); err != nil {
					t.Fatal(err)
				}
				if err := unix.Shutdown(fd, how); err != nil {
					t.Fatal(err)
				}
				for range 2 { // it does not get well by being looked at
					if err := h.audit(); !errors.Is(err, errShutDown) || !strings.Contains(err.Error(), "listener http at ") {
						t.Errorf("error %v, want that it was shut down", err)
					}
				}
			})
		}
	}
}

// TestPortThatSomebodyTookIsLost: as long as he has it. Nobody tries again at once, nor
// listens anywhere else meanwhile.
func TestPortThatSomebodyTookIsLost(t *testing.T) {
	t.Parallel()
	h, fd, _ := held(t, "tcp://127.0.0.1:0")
	ended, looked := make(chan struct{}), make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { h.watch(time.Hour, ended, func() { looked <- struct{}{} }) })
	h.look()
	<-looked // from now on it is followed
	other := takeAway(t, h, fd)
	<-looked
	select {
	case <-looked:
		t.Error("it is tried again and again")
	case <-time.After(50 * time.Millisecond):
	}
	close(ended)
	watching.Wait()
	for range 2 {
		if err := h.audit(); !errors.Is(err, errShutDown) || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("error %v, want that the port is in use", err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.audit(); err != nil {
		t.Errorf("the port is free again: %v", err)
	}
}

// takeAway shuts the listener down and takes its port before anybody looks.
func takeAway(t *testing.T, h *listeners, fd int) (other net.Listener) {
	t.Helper()
	h.lookedAt(func(all []*heldListener) {
		err := unix.Shutdown(fd, unix.SHUT_RDWR)
		if err == nil {
			other, err = net.Listen("tcp", all[0].Address)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = other.Close() })
	return other
}

func TestBlockingListenerIsMadeNonBlocking(t *testing.T) {
	t.Parallel()
	h, fd, log := held(t, "udp://127.0.0.1:0")
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.audit(); err != nil {
			t.Error(err)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: it is still blocking", flags, err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("warned %d times:\n%s", n, log)
	}
}

func TestClosedListenersAreLeftAlone(t *testing.T) {
	t.Parallel()
	h, _, _ := held(t, "tcp://127.0.0.1:0")
	var auditing sync.WaitGroup
	for range 4 {
		auditing.Go(func() {
			for range 100 {
				if err := h.audit(); err != nil && !strings.Contains(err.Error(), "the supervisor is stopping") {
					t.Error(err)
				}
			}
		})
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
	auditing.Wait()
	if err := h.audit(); err == nil {
		t.Error("closed listeners were looked at")
	}
}

func TestLimitIsRestoredAsFarAsTheKernelAllows(t *testing.T) {
	t.Parallel()
	h, fd, log := held(t, "tcp://127.0.0.1:0?backlog=64")
	for _, test := range []struct {
		was, lowered, want uint32
		says               string
	}{
		{64, 8, 64, "it is restored"},
		{1 << 30, 8, 0, "net.core.somaxconn is lower now"}, // as if it had been higher
	} {
		log.Reset()
		h.held[0].state.limit = test.was
		if err := unix.Listen(fd, int(test.lowered)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.audit(); err != nil {
				t.Error(err)
			}
		}
		c, err := health.Inspect(fd)
		if err != nil || c.Limit <= test.lowered || test.want > 0 && c.Limit != test.want {
			t.Errorf("was %d: limit %d, %v", test.was, c.Limit, err)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, test.says) {
			t.Errorf("was %d, want one warning that says %q:\n%s", test.was, test.says, text)
		}
	}
}
