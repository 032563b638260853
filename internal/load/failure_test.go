package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// answerWith answers each request with text, and says what it does next.
func answerWith(text string, then fault) fault {
	return func(s *faultServer, c *net.TCPConn, r *bufio.Reader) {
		for s.readRequest(r) {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			if then != nil {
				then(s, c, r)
				return
			}
		}
	}
}

func reset(_ *faultServer, c *net.TCPConn, _ *bufio.Reader)  { c.SetLinger(0) }
func finish(_ *faultServer, _ *net.TCPConn, _ *bufio.Reader) {}
func hang(s *faultServer, _ *net.TCPConn, _ *bufio.Reader)   { <-s.done }

// serveWhile answers when open is not locked.
func serveWhile(open *sync.RWMutex) fault {
	return func(s *faultServer, c *net.TCPConn, r *bufio.Reader) {
		for s.readRequest(r) {
			open.RLock()
			_, err := io.WriteString(c, okAnswer)
			open.RUnlock()
			if err != nil {
				return
			}
		}
	}
}

// timeoutFor is short where the timeout is the point, and so long elsewhere
// that a busy machine does not reach it.
func timeoutFor(kind FailureKind) time.Duration {
	if kind == Timeout {
		return 100 * time.Millisecond
	}
	return 10 * time.Second
}

const (
	okAnswer    = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
	closeAnswer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n"
)

// TestEachFaultIsCountedUnderItsKind lets every pattern meet every fault.
func TestEachFaultIsCountedUnderItsKind(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault fault
		kind  FailureKind // empty: not a fault
		words string      // that the report's text must have
	}{
		"whole answer":              {answerWith(okAnswer, nil), "", ""},
		"whole answer, then close":  {answerWith(closeAnswer, finish), "", ""},
		"answer until close":        {answerWith("HTTP/1.1 200 OK\r\n\r\nok\n", finish), "", ""},
		"continue before answer":    {answerWith("HTTP/1.1 103 Early Hints\r\n\r\n"+okAnswer, nil), "", ""},
		"reset at once":             {func(_ *faultServer, c *net.TCPConn, _ *bufio.Reader) { c.SetLinger(0) }, Reset, "reset"},
		"reset before the answer":   {answerWith("", reset), Reset, "0 bytes"},
		"reset in the body":         {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok", reset), Reset, "bytes of the answer"},
		"reset after the answer":    {answerWith(closeAnswer, reset), Reset, "reset"},
		"closed at once":            {answerWith("", finish), EOF, "0 bytes of the answer to request 1"},
		"closed in the header":      {answerWith("HTTP/1.1 200 OK\r\nConte", finish), EOF, "22 bytes"},
		"closed in the body":        {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok", finish), EOF, "EOF"},
		"closed between chunks":     {answerWith("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n", finish), EOF, "EOF"},
		"never answered":            {answerWith("", hang), Timeout, "timeout"},
		"half answered":             {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok", hang), Timeout, "timeout"},
		"other status":              {answerWith("HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nsorry", nil), Status, "503 No, want 200: sorry"},
		"other status, then closed": {answerWith("HTTP/1.1 503 No\r\nConnection: close\r\n\r\nsorry", finish), Status, "sorry"},
		"other body":                {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno\n", nil), Body, `"no\n"`},
		"short body":                {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\no", nil), Body, "body of 1 bytes"},
		"long body":                 {answerWith("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok\n!", nil), Body, "body of 4 bytes"},
		"bytes after the answer":    {answerWith(closeAnswer+"!", finish), Body, "after the end"},
		"not HTTP":                  {answerWith("220 smtp.example.org\r\n\r\n", finish), Other, "malformed"},
	} {
		for _, pattern := range []Pattern{NewConnection, KeepAlive, InFlight} {
			t.Run(name+"/"+string(pattern), func(t *testing.T) {
				t.Parallel()
				s := newFaultServer(t, row.fault)
				r := run(t, Config{Target: s.url, Duration: 70 * time.Millisecond, Timeout: timeoutFor(row.kind), Traffic: []Traffic{
					{Pattern: pattern, Rate: 30, Clients: 2, PayloadBytes: 20, Body: "ok\n"},
				}})
				checkFailed(t, r, row.kind, row.words)
				if n := s.requests.Load(); row.kind != "" && n > int64(r.Requests) {
					t.Errorf("%d requests arrived of %d: one was sent twice", n, r.Requests)
				}
			})
		}
	}
}

// checkFailed checks that all of the only traffic failed in one way, or none of it if
// kind is empty.
func checkFailed(t *testing.T, r Report, kind FailureKind, words string) {
	t.Helper()
	l := r.Traffic[0]
	if kind == "" {
		if l.Failed > 0 || l.Unfinished > 0 {
			t.Errorf("%+v", l)
		}
		return
	}
	if l.OK > 0 || l.Failed == 0 || r.FailedByKind[kind] != l.Failed {
		t.Fatalf("%d OK, failed %v: %+v", l.OK, r.FailedByKind, l.Failures)
	}
	if text := l.Failures[0].First[0].Error; !strings.Contains(text, words) {
		t.Errorf("the first failure is %q, which does not say %q", text, words)
	}
}

func TestRefusedIsCounted(t *testing.T) {
	t.Parallel()
	// Bound and not listening: nobody else can listen there meanwhile.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, target := range []string{"http://" + l.Addr().String(), "unix://" + t.TempDir() + "/none"} {
		for _, pattern := range []Pattern{NewConnection, KeepAlive, InFlight} {
			r := run(t, Config{Target: target, Duration: 50 * time.Millisecond, Traffic: []Traffic{
				{Pattern: pattern, Rate: 200, Clients: 1},
			}})
			if r.OK > 0 || r.FailedByKind[Refused] != r.Requests {
				t.Errorf("%s %s: %v of %d", target, pattern, r.FailedByKind, r.Requests)
			}
			if n := len(r.Traffic[0].Failures[0].First); n > firstFailures {
				t.Errorf("%d failures are told in full", n)
			}
			if pattern == InFlight && r.Requests > 5 {
				t.Errorf("a closed loop span: %d attempts in 50 ms", r.Requests)
			}
		}
	}
}

func TestOverloadIsCounted(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, answerWith("", hang))
	for _, pattern := range []Pattern{NewConnection, KeepAlive} {
		r := run(t, Config{Target: s.url, Duration: 100 * time.Millisecond, Timeout: 300 * time.Millisecond, MaxInFlight: 3, Traffic: []Traffic{
			{Pattern: pattern, Rate: 100, Clients: 1},
		}})
		if r.Requests != 10 || r.FailedByKind[Overload] != 7 {
			t.Errorf("%s: of %d requests failed %v, %d unfinished", pattern, r.Requests, r.FailedByKind, r.Unfinished)
		}
	}
}

// TestWhatWaitsTooLongForAConnectionIsCounted: what does not fit into the queue of
// a keep-alive client has failed, and is not forgotten.
func TestWhatWaitsTooLongForAConnectionIsCounted(t *testing.T) {
	t.Parallel()
	config := Config{Target: "http://127.0.0.1:1", Duration: time.Second, Timeout: time.Second}.withDefaults()
	to, err := parseTarget(config.Target)
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(Traffic{Pattern: KeepAlive, Clients: 1, Rate: 1}.withDefaults(config), config, to, &generations{})
	l.started = time.Now()
	k := newKeepAlive(l) // and nobody who sends what is due
	const more = 3
	for range cap(k.queue) + more {
		k.fire(time.Now())
	}
	r := l.summarize(nil)
	if r.Failed != more || r.Requests != uint64(cap(k.queue)+more) || l.inFlight.Load() != int64(cap(k.queue)) || r.Failures[0].Kind != Overload {
		t.Errorf("%d in flight: %+v", l.inFlight.Load(), r)
	}
}

func TestKeepAliveNoticesWhatHappensBetweenRequests(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		answer     string
		then       fault
		kind       FailureKind // of every second request; empty: none fails
		idleCloses bool
		words      string
	}{
		"closed":   {okAnswer, finish, "", true, ""},
		"reset":    {okAnswer, reset, Reset, false, "between two requests"},
		"unasked":  {okAnswer + "!", hang, Body, false, "before it was asked"},
		"too late": {okAnswer, func(s *faultServer, _ *net.TCPConn, r *bufio.Reader) { s.readRequest(r) }, EOF, false, "0 bytes of the answer to request 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFaultServer(t, answerWith(row.answer, row.then))
			r := run(t, Config{Target: s.url, Duration: 800 * time.Millisecond, Traffic: []Traffic{
				{Pattern: KeepAlive, Rate: 10, Clients: 1, PayloadBytes: 1},
			}})
			l := r.Traffic[0]
			if row.kind == "" && (l.Failed > 0 || l.Connections != 8) || row.kind != "" && r.FailedByKind[row.kind] != 4 {
				t.Errorf("%d requests on %d connections, failed %v", l.Requests, l.Connections, r.FailedByKind)
			}
			if (l.IdleCloses > 0) != row.idleCloses {
				t.Errorf("%d idle closes", l.IdleCloses)
			}
			if row.kind != "" && !strings.Contains(l.Failures[0].First[0].Error, row.words) {
				t.Errorf("%q does not say %q", l.Failures[0].First[0].Error, row.words)
			}
			if n := s.requests.Load(); n > int64(l.Requests) {
				t.Errorf("%d requests arrived of %d: one was sent twice", n, l.Requests)
			}
		})
	}
}

func TestIdleSeesWithoutWaiting(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		does func(c *net.TCPConn)
		want error
	}{
		"closed": {func(c *net.TCPConn) {}, io.EOF},
		"reset":  {func(c *net.TCPConn) { c.SetLinger(0) }, syscall.ECONNRESET},
		"speaks": {func(c *net.TCPConn) { io.WriteString(c, "!") }, errUnasked},
	} {
		act := make(chan struct{})
		s := newFaultServer(t, func(s *faultServer, c *net.TCPConn, _ *bufio.Reader) {
			<-act
			row.does(c)
			if errors.Is(row.want, errUnasked) {
				<-s.done
			}
		})
		to, err := parseTarget(s.url)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newDialer(to, 1, 0).dial(t.Context(), time.Now().Add(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.idle(); err != nil {
			t.Errorf("%s: %v before anything happened", name, err)
		}
		close(act)
		for err == nil {
			runtime.Gosched()
			err = c.idle()
		}
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
		c.Close()
	}
}

func TestPayloadsDiffer(t *testing.T) {
	t.Parallel()
	for _, length := range []int{3, 12, 100} {
		s := newScript(Traffic{PayloadBytes: length, Raw: true}, target{}, "")
		seen := map[string]bool{}
		for number := range uint64(1000) {
			request, payload := s.write(nil, number)
			if len(payload) != length || !bytes.HasSuffix(request, payload) || seen[string(payload)] {
				t.Fatalf("request %d has payload %q, as another one", number, payload)
			}
			seen[string(payload)] = true
		}
	}
}

func TestKeepAliveFollowsConnectionClose(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, answerWith(closeAnswer, finish))
	r := run(t, Config{Target: s.url, Duration: 200 * time.Millisecond, Traffic: []Traffic{{Pattern: KeepAlive, Rate: 50, Clients: 1}}})
	if l := r.Traffic[0]; l.Failed > 0 || l.OK != 10 || l.Connections != 10 || l.IdleCloses > 0 {
		t.Errorf("%+v", l)
	}
}

// TestStreamMayOutliveTheTimeout: only silence is bounded. That silence ends a
// stream is shown by "half answered" above.
func TestStreamMayOutliveTheTimeout(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, answerWith("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", func(s *faultServer, c *net.TCPConn, _ *bufio.Reader) {
		for range 30 {
			io.WriteString(c, "more\n")
			<-time.After(50 * time.Millisecond)
		}
	}))
	r, err := Start(t.Context(), Config{Target: s.url, Duration: time.Minute, Timeout: time.Second,
		Traffic: []Traffic{{Pattern: InFlight, Clients: 1, BodyBytes: 150}}})
	if err != nil {
		t.Fatal(err)
	}
	for p := r.Snapshot(); p.OK+p.Failed == 0; p = r.Snapshot() {
		<-time.After(time.Millisecond)
	}
	if report := r.Stop(); report.Failed > 0 || report.Traffic[0].All.MaxMS < 1500 {
		t.Errorf("%+v", report)
	}
}

func TestRawEchoFaults(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault fault
		kind  FailureKind
	}{
		"other bytes": {func(_ *faultServer, c *net.TCPConn, r *bufio.Reader) {
			p := make([]byte, 20)
			io.ReadFull(r, p)
			p[7] ^= 1
			c.Write(p)
			io.Copy(io.Discard, r)
		}, Body},
		"half": {func(_ *faultServer, c *net.TCPConn, r *bufio.Reader) {
			p := make([]byte, 20)
			io.ReadFull(r, p)
			c.Write(p[:10])
		}, EOF},
		"silent": {func(s *faultServer, _ *net.TCPConn, r *bufio.Reader) { <-s.done }, Timeout},
	} {
		for _, pattern := range []Pattern{NewConnection, KeepAlive} {
			t.Run(name+"/"+string(pattern), func(t *testing.T) {
				t.Parallel()
				s := newFaultServer(t, row.fault)
				r := run(t, Config{Target: s.url, Duration: 60 * time.Millisecond, Timeout: timeoutFor(row.kind), Traffic: []Traffic{
					{Pattern: pattern, Rate: 50, Clients: 3, Raw: true, PayloadBytes: 20},
				}})
				if r.OK > 0 || r.FailedByKind[row.kind] != r.Failed || r.Failed == 0 {
					t.Errorf("%d OK, failed %v: %+v", r.OK, r.FailedByKind, r.Traffic[0].Failures)
				}
			})
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]FailureKind{
		fail(Status, "x"):                       Status,
		fmt.Errorf("a: %w", fail(Overload, "")): Overload,
		io.ErrUnexpectedEOF:                     EOF,
		errors.New("?"):                         Other,
	} {
		if got := classify(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
