package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"example.com/supervisor/systemd/notifytest"
)

const soon = 10 * time.Second

func newNotifier(t *testing.T, getenv func(string) string) *Notifier {
	t.Helper()
	n, err := NewNotifier(getenv)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func env(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestNotifierSendsTheseDatagrams(t *testing.T) {
	t.Parallel()
	for kind, listen := range map[string]func(testing.TB) *notifytest.Socket{
		"path": notifytest.Listen, "abstract": notifytest.ListenAbstract,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := listen(t)
			n := newNotifier(t, s.Getenv)
			for want, send := range map[string]func() error{
				"READY=1\nSTATUS=generation 1 active":       func() error { return n.Ready("generation 1 active") },
				"READY=1":                                   func() error { return n.Ready("") },
				"STATUS=generation 7 baking, 3.2 s left":    func() error { return n.Status("generation 7 baking, 3.2 s left") },
				"STATUS=":                                   func() error { return n.Status("") },
				"STATUS=one READY=1 two":                    func() error { return n.Status("one\nREADY=1\x00two") },
				"STATUS=bad \uFFFD text":                    func() error { return n.Status("bad \xff\xfe text") },
				"STOPPING=1\nSTATUS=2 generations to go":    func() error { return n.Stopping("2 generations to go") },
				"EXTEND_TIMEOUT_USEC=2500000":               func() error { return n.ExtendTimeout(2500 * time.Millisecond) },
				"EXTEND_TIMEOUT_USEC=1":                     func() error { return n.ExtendTimeout(-time.Hour) },
				"WATCHDOG=1":                                n.Watchdog,
				"FDSTOREREMOVE=1\nFDNAME=" + StoreName("a"): func() error { return n.Unstore(StoreName("a")) },
			} {
				if err := send(); err != nil {
					t.Error(err)
				}
				if got, fds := s.Next(t, soon); got != want || fds != nil {
					t.Errorf("sent %q and %d, want %q", got, fds, want)
				}
			}
		})
	}
}

func TestReloadingCarriesTheTime(t *testing.T) {
	t.Parallel()
	s := notifytest.Listen(t)
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
	if err := newNotifier(t, s.Getenv).Reloading("generation 2 starts"); err != nil {
		t.Fatal(err)
	}
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
	got, _ := s.Next(t, soon)
	found := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=([0-9]+)\nSTATUS=generation 2 starts$`).FindStringSubmatch(got)
	if found == nil {
		t.Fatalf("sent %q", got)
	}
	us, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil || us < before.Nano()/1000 || us > after.Nano()/1000 {
		t.Errorf("%d µs is not between %d and %d ns", us, before.Nano(), after.Nano())
	}
}

func TestStatusIsCutBetweenLetters(t *testing.T) {
	t.Parallel()
	for _, letter := range []string{"x", "é", "…", "🙂"} {
		got := printable(strings.Repeat(letter, 5000))
		if len(got) > maxStatus || len(got) < maxStatus-6 || !utf8.ValidString(got) || !strings.HasSuffix(got, letter+"…") {
			t.Errorf("%q of %d bytes", got, len(got))
		}
	}
	if whole := strings.Repeat("x", maxStatus); printable(whole) != whole {
		t.Error("a text that is just short enough was cut")
	}
}

func TestStoreSendsTheVerySocket(t *testing.T) {
	t.Parallel()
	s := notifytest.Listen(t)
	fd := tcp(t)
	if err := newNotifier(t, s.Getenv).Store(StoreName("http"), fd); err != nil {
		t.Fatal(err)
	}
	got, fds := s.Next(t, soon)
	if want := "FDSTORE=1\nFDNAME=supervisor.listener.http\nFDPOLL=0"; got != want || len(fds) != 1 {
		t.Fatalf("sent %q and %d, want %q and one descriptor", got, fds, want)
	}
	defer unix.Close(fds[0])
	if sent, mine := cookie(t, fds[0]), cookie(t, fd); sent != mine {
		t.Errorf("sent socket %d, want %d", sent, mine)
	}
}

func cookie(t *testing.T, fd int) uint64 {
	t.Helper()
	value, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	must(t, err)
	return value
}

func TestStoreRefusesNamesThatWouldBecomeOthers(t *testing.T) {
	t.Parallel()
	s := notifytest.Listen(t)
	n := newNotifier(t, s.Getenv)
	for name, text := range map[string]string{
		"":                                  "empty",
		"a:b":                               "printable ASCII",
		"a\nFDSTORE=1":                      "printable ASCII",
		"é":                                 "printable ASCII",
		"\x7f":                              "printable ASCII",
		StoreName(strings.Repeat("x", 236)): "longer than 255",
	} {
		wantText(t, n.Store(name, 0), text)
		wantText(t, n.Unstore(name), text)
	}
	wantText(t, n.Store("closed", 1<<30), "bad file descriptor", "cannot tell systemd FDSTORE=1")
	if err := n.Unstore(StoreName(strings.Repeat("x", 235))); err != nil {
		t.Error(err)
	}
	if got, _ := s.Next(t, soon); !strings.HasPrefix(got, "FDSTOREREMOVE=1\n") {
		t.Errorf("sent %q", got)
	}
}

func TestBarrierWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	s := notifytest.Listen(t)
	n := newNotifier(t, s.Getenv)
	if err := errors.Join(n.Status("before"), n.Barrier(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := s.All(); !slices.Equal(got, []string{"STATUS=before", "BARRIER=1"}) {
		t.Errorf("sent %q", got)
	}
}

func TestBarrierEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path, conn := deaf(t)
	n := newNotifier(t, env(map[string]string{"NOTIFY_SOCKET": path}))
	cause := errors.New("the patience is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- n.Barrier(ctx) }()
	text, rights := make([]byte, 64), make([]byte, 64)
	size, oobn, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil || string(text[:size]) != "BARRIER=1" {
		t.Fatalf("%q, %v", text[:size], err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:oobn])
	must(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	defer unix.Close(fds[0])
	select {
	case err := <-answer:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	cancel(cause)
	if err := <-answer; !errors.Is(err, cause) {
		t.Errorf("error is %v", err)
	}
}

// deaf is a socket from which only the test reads.
func deaf(t *testing.T) (path string, conn *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "deaf-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return path, conn
}

// fill fills a socket's queue (net.unix.max_dgram_qlen of them, or what its
// buffer holds).
func fill(t *testing.T, path string) {
	t.Helper()
	for range 10_000 {
		if err := sendDatagram(path, []byte("x"), time.Millisecond); isStuck(err) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the queue is never full")
}

func TestNotifierDoesNotWaitForLong(t *testing.T) {
	t.Parallel()
	path, _ := deaf(t)
	n := newNotifier(t, env(map[string]string{"NOTIFY_SOCKET": path}))
	fill(t, path)
	start := time.Now()
	err := n.Ready("")
	wantText(t, err, "cannot tell systemd READY=1", "its queue has been full for 1s")
	if took := time.Since(start); took > 5*notifyWait || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v after %v", err, took)
	}
}

func TestNotifierThatIsOffDoesNothing(t *testing.T) {
	t.Parallel()
	var none *Notifier
	for _, n := range []*Notifier{none, newNotifier(t, env(map[string]string{"WATCHDOG_USEC": "1000"}))} {
		err := errors.Join(n.Ready("a"), n.Reloading("a"), n.Status("a"), n.Stopping("a"), n.ExtendTimeout(1),
			n.Watchdog(), n.Store("", -1), n.Unstore(""), n.Barrier(t.Context()))
		if interval, ok := n.WatchdogInterval(); n.On() || err != nil || ok || interval != 0 {
			t.Errorf("%v, %v, %v", err, interval, ok)
		}
	}
}

func TestNotifierTellsWhenNobodyIsThere(t *testing.T) {
	t.Parallel()
	n := newNotifier(t, env(map[string]string{"NOTIFY_SOCKET": "/nowhere/notify"}))
	if err := n.Watchdog(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if err := n.Barrier(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestNewNotifierRefuses(t *testing.T) {
	t.Parallel()
	good := map[string]string{"NOTIFY_SOCKET": "@x"}
	for _, c := range []struct{ name, value, text string }{
		{"NOTIFY_SOCKET", "vsock:2:1234", "vsock, which is not supported"},
		{"NOTIFY_SOCKET", "vsock-stream:2:1234", "vsock, which is not supported"},
		{"NOTIFY_SOCKET", "notify", "neither an absolute path nor an abstract name"},
		{"NOTIFY_SOCKET", "@", "no name"},
		{"NOTIFY_SOCKET", "/" + strings.Repeat("x", 107), "longer than 107"},
		{"WATCHDOG_USEC", "3s", "WATCHDOG_USEC=\"3s\""},
		{"WATCHDOG_USEC", "0", "above 0"},
		{"WATCHDOG_USEC", "-1", "above 0"},
		{"WATCHDOG_USEC", "18446744073709551615", "above 0"},
		{"WATCHDOG_USEC", "9223372036854776", "above 0"},
		{"WATCHDOG_PID", "me", "WATCHDOG_PID=\"me\""},
	} {
		_, err := NewNotifier(func(name string) string {
			if name == c.name {
				return c.value
			}
			if name == "WATCHDOG_USEC" {
				return "1000"
			}
			return good[name]
		})
		wantText(t, err, c.text)
	}
}

func TestWatchdogIntervalIsOurs(t *testing.T) {
	t.Parallel()
	for pid, want := range map[string]time.Duration{
		"": 3 * time.Second, strconv.Itoa(os.Getpid()): 3 * time.Second, "1": 0,
	} {
		n := newNotifier(t, env(map[string]string{"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}))
		if got, ok := n.WatchdogInterval(); got != want || ok != (want != 0) {
			t.Errorf("WATCHDOG_PID=%s: %v, %v", pid, got, ok)
		}
	}
}

func TestNotifierIsConcurrent(t *testing.T) {
	t.Parallel()
	s := notifytest.Listen(t)
	n := newNotifier(t, s.Getenv)
	fd := udp(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := errors.Join(n.Status(fmt.Sprint(i)), n.Store("x", fd), n.Barrier(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(s.All()); got != 60 {
		t.Errorf("%d datagrams, want 60", got)
	}
}
