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
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// A supervisor's script: what it sends after the hello.
type step struct {
	text string
	fds  []int
}

const welcomeFor2 = `{"type":"welcome","protocol":1,"service":"s","generation":1,"listeners":2}`

func batch(n, of int, ls ...Listener) step {
	var s step
	var described []string
	for _, l := range ls {
		s.fds = append(s.fds, l.FD)
		described = append(described, fmt.Sprintf(`{"name":%q,"network":%q,"address":%q,"cookie":"%d"}`,
			l.Name, l.Network, l.Address, l.Cookie))
	}
	s.text = listenersPacket(fmt.Sprintf(`"batch":%d,"of":%d`, n, of), strings.Join(described, ","))
	return s
}

func TestAcceptNamesWhatTheSupervisorDidWrong(t *testing.T) {
	ls := listeners(t, 3)
	a, b, third := ls[0], ls[1], ls[2]
	mixed, alias := a, b
	mixed.FD = b.FD
	alias.Name = a.Name
	piped, datagram, shut := a, a, a
	_, piped.FD = pipe(t)
	t.Cleanup(func() { unix.Close(piped.FD) })
	datagram.FD = socket(t, unix.AF_INET, unix.SOCK_DGRAM)
	shut.FD = socket(t, unix.AF_INET, unix.SOCK_STREAM)
	shut.Cookie, _ = shut.cookie()

	for _, c := range []struct {
		name  string
		steps []step
		text  string
		is    error
		told  bool // the supervisor is told
	}{
		{"leaves", nil, "closed the channel before it sent welcome", io.EOF, false},
		{"leaves after the welcome", []step{{welcomeFor2, nil}}, "closed the channel before", io.EOF, false},
		{"leaves between batches", []step{{welcomeFor2, nil}, batch(1, 2, a)}, "closed the channel before", io.EOF, false},
		{"refuses", []step{{`{"type":"error","reason":"too many generations"}`, nil}}, "too many generations", nil, false},
		{"refuses later", []step{{welcomeFor2, nil}, {`{"type":"error","reason":"wrong cookie"}`, nil}}, "wrong cookie", nil, false},
		{"speaks HTTP", []step{{"HTTP/1.1 400 Bad Request\r\n\r\n", nil}}, "not a JSON object", nil, true},
		{"other version", []step{{`{"type":"welcome","protocol":3,"listeners":"many"}`, nil}}, `field "listeners" must be an integer`, nil, true},
		{"version 3", []step{{`{"type":"welcome","protocol":3,"realm":{}}`, nil}}, "the supervisor speaks version 3 and the child version 1", ErrProtocol, true},
		{"version 3 with a probe", []step{{`{"type":"welcome","protocol":3,"probe":true}`, []int{a.FD}}}, "version 3", ErrProtocol, true},
		{"pause first", []step{{`{"type":"pause","id":1}`, nil}}, `bad "pause" message: it came where welcome was due`, nil, true},
		{"listeners first", []step{batch(1, 1, a)}, `bad "listeners" message: it came where welcome was due`, nil, true},
		{"drain in between", []step{{welcomeFor2, nil}, {`{"type":"drain","id":1}`, nil}}, `it came where listeners was due`, nil, true},
		{"second batch first", []step{{welcomeFor2, nil}, batch(2, 2, a)}, "batch 2 of 2 where 1 of 2 was due", nil, true},
		{"same batch again", []step{{welcomeFor2, nil}, batch(1, 2, a), batch(1, 2, b)}, "batch 1 of 2 where 2 of 2 was due", nil, true},
		{"other number of batches", []step{{welcomeFor2, nil}, batch(1, 2, a), batch(2, 3, b)}, "batch 2 of 3 where 2 of 2 was due", nil, true},
		{"too few", []step{{welcomeFor2, nil}, batch(1, 1, a)}, "1 listeners came with batch 1 of 1 and 2 were announced", ErrCount, true},
		{"too many", []step{{welcomeFor2, nil}, batch(1, 1, a, b, third)}, "3 listeners came", ErrCount, true},
		{"all before the last batch", []step{{welcomeFor2, nil}, batch(1, 2, a, b)}, "2 listeners came with batch 1 of 2", ErrCount, true},
		{"same name in two batches", []step{{welcomeFor2, nil}, batch(1, 2, a), batch(2, 2, alias)}, `"listener-1" is named twice`, nil, true},
		{"descriptors swapped", []step{{welcomeFor2, nil}, batch(1, 1, mixed, b)}, "socket cookie mismatch", ErrCookie, true},
		{"a pipe", []step{{welcomeFor2, nil}, batch(1, 1, piped, b)}, "socket operation on non-socket", nil, true},
		{"another kind of socket", []step{{welcomeFor2, nil}, batch(1, 1, datagram, b)}, "socket cookie mismatch", ErrCookie, true},
		{"a socket that does not listen", []step{{welcomeFor2, nil}, batch(1, 1, shut, b)}, "the socket does not listen", nil, true},
		{"missing descriptor", []step{{welcomeFor2, nil}, {batch(1, 1, a, b).text, []int{a.FD}}}, "1 descriptors instead of 2", nil, true},
		{"surplus descriptor", []step{{welcomeFor2, nil}, {batch(1, 1, a, b).text, []int{a.FD, b.FD, a.FD}}}, "3 descriptors instead of 2", nil, true},
		{"no descriptors", []step{{welcomeFor2, nil}, {batch(1, 1, a, b).text, nil}}, "0 descriptors instead of 2", nil, true},
		{"only descriptors", []step{{welcomeFor2, nil}, {"", []int{a.FD, b.FD}}}, "the packet is empty", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			said, err := acceptFrom(t, c.steps)
			told := reasonOf(said)
			wantText(t, err, c.text)
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error is %v, want %v", err, c.is)
			}
			if c.told != strings.Contains(told, c.text) || !c.told && told != "" {
				t.Errorf("the supervisor was told %q", told)
			}
		})
	}
}

// acceptFrom plays a supervisor and gives what the child said.
func acceptFrom(t *testing.T, steps []step) ([]Message, error) {
	t.Helper()
	supervisor, child := conns(t)
	done := make(chan error, 1)
	go func() {
		w, ls, probe, err := Accept(child, Hello{})
		if err != nil && (w != Welcome{} || ls != nil || probe != -1) {
			err = errors.Join(err, errors.New("something came with the error"))
		}
		child.Close()
		done <- err
	}()
	for _, s := range steps {
		if err := supervisor.sendText(s.text, s.fds...); err != nil && !errors.Is(err, unix.EPIPE) {
			t.Fatal(err)
		}
	}
	if err := shutWrite(supervisor); err != nil {
		t.Fatal(err)
	}
	said, err := untilEOF(supervisor)
	if err != nil {
		t.Fatal(err)
	}
	return said, <-done
}

func reasonOf(said []Message) string {
	for _, m := range said {
		switch m := m.(type) {
		case Failed:
			return m.Reason
		case Error:
			return m.Reason
		}
	}
	return ""
}

// The child does not repeat what it was told: the supervisor is to compare.
func TestAcknowledgementHasTheCookiesOfTheDescriptors(t *testing.T) {
	leaktest.Check(t)
	ls := listeners(t, 2)
	mixed := ls[0]
	mixed.FD = ls[1].FD
	said, err := acceptFrom(t, []step{{welcomeFor2, nil}, batch(1, 1, mixed, ls[1])})
	if !errors.Is(err, ErrCookie) {
		t.Errorf("error is %v", err)
	}
	want := Received{Batch: 1, Count: 2, Cookies: []Cookie{ls[1].Cookie, ls[1].Cookie}}
	if len(said) < 2 || !reflect.DeepEqual(said[1], want) {
		t.Errorf("the child said %+v, want %+v second", said, want)
	}
}

// shutWrite ends what c sends and leaves what it receives.
func shutWrite(c *Conn) error { return c.sock.CloseWrite() }

func TestAcceptGivesEverything(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	offered := append(listeners(t, 600), others(t)...)
	probe := listenTCP(t)
	type result struct {
		hello Hello
		err   error
	}
	done := make(chan result, 1)
	go func() {
		h, err := Offer(supervisor, Welcome{Service: "api", Generation: 4, StatsMS: 100, ReadyMS: 5000}, probe, offered)
		done <- result{h, err}
	}()
	w, got, gotProbe, err := Accept(child, Hello{Library: "test", Capabilities: []string{CanPause}, Protocol: 99})
	if err != nil {
		t.Fatal(err)
	}
	defer closeListeners(got)
	defer closeFDs([]int{gotProbe})
	want := Welcome{Protocol: Protocol, Service: "api", Generation: 4, Listeners: len(offered), Probe: true, StatsMS: 100, ReadyMS: 5000}
	if w != want {
		t.Errorf("welcome is %+v", w)
	}
	r := <-done
	if r.err != nil || !reflect.DeepEqual(r.hello, Hello{Protocol: Protocol, PID: os.Getpid(), Library: "test", Capabilities: []string{CanPause}}) {
		t.Errorf("hello is %+v, %v", r.hello, r.err)
	}
	for i, l := range got {
		if err := errors.Join(l.Verify(), isNonblocking(l.FD)); err != nil {
			t.Error(err)
		}
		if l.FD == offered[i].FD {
			t.Fatalf("listener %q came with the supervisor's descriptor", l.Name)
		}
		l.FD = offered[i].FD
		if l != offered[i] {
			t.Errorf("got %+v, want %+v", l, offered[i])
		}
	}
}

// others are listeners of the other networks.
func others(t *testing.T) []Listener {
	t.Helper()
	var ls []Listener
	for name, fd := range otherSockets(t) {
		l, err := Describe(name, fd)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	return ls
}

// Go's own listener works on a descriptor of the handoff and leaves the flags
// of the socket as they were.
func TestListenersOfTheHandoffStayNonblocking(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	offered := listeners(t, 1)
	done := make(chan error, 1)
	go func() {
		_, err := Offer(supervisor, welcome(), -1, offered)
		done <- err
	}()
	_, got, _, err := Accept(child, Hello{})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(got[0].FD), "listener")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if conn, err := l.Accept(); err == nil {
			fmt.Fprint(conn, "hi")
			conn.Close()
		}
	})
	if greeting, err := dial(offered[0].Address); greeting != "hi" {
		t.Errorf("got %q, %v", greeting, err)
	}
	l.Close()
	serving.Wait()
	if err := errors.Join(isNonblocking(offered[0].FD), offered[0].Verify()); err != nil {
		t.Error(err)
	}
}
