package fdpass

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// A runner starts a child that plays a script and gives the supervisor's end.
// wait reports how the script ended.
type runner func(t *testing.T, name string) (c *Conn, wait func() error)

func inProcess(t *testing.T, name string) (*Conn, func() error) {
	supervisor, child := conns(t)
	done := make(chan error, 1)
	go func() { done <- childScripts()[name](child) }()
	return supervisor, func() error { return <-done }
}

func inChild(t *testing.T, name string) (*Conn, func() error) {
	t.Helper()
	supervisor, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Cleanup(func() { supervisor.Close() })
	if err := supervisor.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envScript+"="+name, EnvFD+"=3", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return supervisor, func() error {
		if err := cmd.Wait(); err != nil {
			return errors.Join(err, errors.New(stderr.String()))
		}
		return nil
	}
}

// runners: what is true of the fake must be true of the real thing.
func runners() map[string]runner {
	return map[string]runner{"in process": inProcess, "child": inChild}
}

func TestChildGetsTheSocketsThatWereOffered(t *testing.T) {
	for name, run := range runners() {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			ls := listeners(t, 300)
			c, wait := run(t, "serves")
			hello, err := Offer(c, welcome(), listenTCP(t), ls)
			if err != nil {
				t.Fatal(err)
			}
			if name == "in process" && hello.PID != os.Getpid() || hello.PID < 1 || hello.Protocol != Protocol {
				t.Errorf("hello is %+v", hello)
			}
			if m, err := expect[Ready](c); err != nil {
				t.Fatal(m, err)
			}
			if got, err := dial(ls[0].Address); got != "listener-1" {
				t.Errorf("got %q, %v", got, err)
			}
			if err := c.Send(Drain{ID: 1}); err != nil {
				t.Fatal(err)
			}
			if m, err := expect[Drained](c); err != nil || m != (Drained{ID: 1, Accepted: 1}) {
				t.Errorf("got %+v, %v", m, err)
			}
			if err := wait(); err != nil {
				t.Error(err)
			}
			for _, l := range ls {
				if err := errors.Join(l.Verify(), isNonblocking(l.FD)); err != nil {
					t.Errorf("after the child: %v", err)
				}
			}
		})
	}
}

func TestServiceWithoutListeners(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	done := make(chan error, 1)
	go func() {
		w, ls, probe, err := Accept(child, Hello{Library: "x"})
		if err == nil && (w.Listeners != 0 || len(ls) != 0 || probe != -1) {
			err = errors.New("got something")
		}
		done <- err
	}()
	if hello, err := Offer(supervisor, welcome(), -1, nil); err != nil || hello.Library != "x" {
		t.Errorf("%+v, %v", hello, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOfferNamesWhatTheChildDidWrong(t *testing.T) {
	for _, c := range []struct {
		script, text string
		is           error
		violation    bool
	}{
		{"has no room for one more", "RLIMIT_NOFILE is", nil, false},
		{"has room for three", "only 3 arrived", nil, false},
		{"other version", `field "pid" must be an integer`, nil, true},
		{"version 2", "the child speaks version 2 and the supervisor version 1", ErrProtocol, true},
		{"no version", "protocol must be 1 or more", nil, true},
		{"fails at once", "the child failed: no database", nil, false},
		{"fails after hello", "the child failed: no database", nil, false},
		{"reports an error", "the peer reported an error: what is a welcome?", nil, false},
		{"leaves at once", "closed the channel before it sent hello", io.EOF, false},
		{"leaves after hello", "closed the channel", io.EOF, false},
		{"ready before the end", `bad "ready" message: it came where received was due`, nil, true},
		{"hello twice", `bad "hello" message: it came where received was due`, nil, true},
		{"no JSON", "not a JSON object", nil, true},
		{"unknown type", "the type is not known", nil, true},
		{"huge numbers", "must be an integer in range", nil, true},
		{"wrong types", "must be an integer in range, not string", nil, true},
		{"received before hello", `bad "received" message: it came where hello was due`, nil, true},
		{"empty packet", "the packet is empty", nil, true},
		{"descriptors with hello", "1 descriptors instead of 0", nil, true},
		{"253 descriptors, no words", "the packet is empty", nil, true},
		{"wrong batch", "acknowledges batch 2 instead of 1", nil, true},
		{"wrong count", "received 3 listeners and 4 cookies of batch 1, which has 4", ErrCount, true},
		{"cookie missing", "received 4 listeners and 3 cookies", ErrCount, true},
		{"cookie too many", "received 4 listeners and 5 cookies", ErrCount, true},
		{"no cookies", "received 4 listeners and 0 cookies", ErrCount, true},
		{"wrong cookie", `as listener "listener-2" instead of`, ErrCookie, true},
		{"cookies in another order", `as listener "listener-1" instead of`, ErrCookie, true},
		{"floods", `bad "stats" message: it came where hello was due`, nil, true},
	} {
		for name, run := range runners() {
			if name == "in process" && strings.HasPrefix(c.script, "has ") {
				continue // they lower the limit of the process
			}
			t.Run(c.script+"/"+name, func(t *testing.T) {
				leaktest.Check(t)
				conn, wait := run(t, c.script)
				_, err := Offer(conn, welcome(), -1, listeners(t, 4))
				conn.Close()
				wantText(t, err, c.text)
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("error is %v, want %v", err, c.is)
				}
				if isViolation(err) != c.violation {
					t.Errorf("violation: %v", !c.violation)
				}
				if err := wait(); err != nil {
					t.Errorf("script: %v", err)
				}
			})
		}
	}
}

func TestOfferGivesTheReasonOfAChildThatFailed(t *testing.T) {
	leaktest.Check(t)
	conn, wait := inProcess(t, "fails and waits")
	hello, err := Offer(conn, welcome(), -1, listeners(t, 1))
	var said *PeerError
	if !errors.As(err, &said) || said.Reason != "no database" || said.Type != "failed" {
		t.Errorf("error is %#v", err)
	}
	if hello.PID != 7 {
		t.Errorf("hello is %+v", hello)
	}
	conn.Close()
	// The script waits for a word that only a child that broke the protocol gets.
	wantText(t, wait(), "did not say error")
}

func TestOfferChecksItsOwnListenersFirst(t *testing.T) {
	leaktest.Check(t)
	ls := listeners(t, 2)
	same := ls[0]
	same.FD = ls[1].FD
	shut := ls[1]
	if err := unix.Shutdown(shut.FD, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		welcome   Welcome
		listeners []Listener
		text      string
	}{
		{Welcome{}, nil, "service is missing"},
		{welcome(), []Listener{ls[0], ls[0]}, "named twice"},
		{welcome(), []Listener{{Name: "a"}}, "is not known"},
		{welcome(), []Listener{same}, "socket cookie mismatch"},
		{welcome(), []Listener{shut}, "the socket does not listen"},
		{welcome(), make([]Listener, MaxListeners+1), "listeners must be from 0 to 16384"},
	} {
		supervisor, _ := conns(t)
		_, err := Offer(supervisor, c.welcome, -1, c.listeners)
		wantText(t, err, c.text)
	}
}

func TestOfferToAChildThatHangsEndsAtTheDeadline(t *testing.T) {
	leaktest.Check(t)
	supervisor, _ := conns(t)
	supervisor.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := Offer(supervisor, welcome(), -1, listeners(t, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}
