package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestGoodServerHasNoFailures(t *testing.T) {
	t.Parallel()
	r := run(t, Config{Target: goodServer(t), Duration: 500 * time.Millisecond, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 200, Body: "hello\n"},
		{Name: "post", Pattern: NewConnection, Rate: 100, Path: "/echo", PayloadBytes: 10_000, Echo: true},
		{Pattern: KeepAlive, Clients: 10, Rate: 20, Path: "/echo", PayloadBytes: 64, Echo: true},
		{Name: "head", Pattern: KeepAlive, Clients: 1, Rate: 20, Method: "HEAD"},
		{Name: "missing", Pattern: KeepAlive, Clients: 1, Rate: 20, Method: "PUT", Path: "/echo", Status: 405},
		{Name: "slow", Pattern: InFlight, Clients: 2, Path: "/slow", Body: "slow\n"},
		{Name: "stream", Pattern: InFlight, Clients: 2, Path: "/stream", BodyBytes: 70},
	}})
	if r.Failed > 0 || r.Unfinished > 0 {
		t.Errorf("failed %v, unfinished %d: %+v", r.FailedByKind, r.Unfinished, r.Traffic)
	}
	want := map[string]uint64{"new-connection": 100, "post": 50, "keep-alive": 100, "head": 10, "missing": 10}
	for _, l := range r.Traffic {
		if n := want[l.Name]; n != 0 && l.Requests != n {
			t.Errorf("%s: %d requests, want %d", l.Name, l.Requests, n)
		}
		if l.Pattern == KeepAlive && l.Connections > 10 || l.Pattern != KeepAlive && l.Connections != l.Requests {
			t.Errorf("%s: %d connections for %d requests", l.Name, l.Connections, l.Requests)
		}
	}
	if n := r.Generations["7"]; n != 100+50+100+10 { // the 405 does not name one
		t.Errorf("generations %v", r.Generations)
	}
	if slow := r.Traffic[5]; slow.All.P50MS < 30 || slow.OK < 4 {
		t.Errorf("slow requests took %+v", slow.All)
	}
}

func TestDialMakesTheConnections(t *testing.T) {
	t.Parallel()
	server := strings.TrimPrefix(goodServer(t), "http://")
	c := Config{Target: "http://127.0.0.1:1", Duration: 200 * time.Millisecond, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 100}, {Pattern: KeepAlive, Clients: 2, Rate: 50},
	}}
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, limited := ctx.Deadline(); !limited || network != "tcp" || address != "127.0.0.1:1" {
			return nil, fmt.Errorf("dial of %s %s, with a deadline: %t", network, address, limited)
		}
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}
	r := run(t, c)
	if r.Failed > 0 || r.Requests != 40 {
		t.Errorf("%d requests, failed %v: %+v", r.Requests, r.FailedByKind, r.Traffic)
	}
	c.Timeout = 20 * time.Millisecond
	c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r := run(t, c); r.OK > 0 || r.FailedByKind[Timeout] != r.Requests {
		t.Errorf("of connections that never come: %d OK, failed %v", r.OK, r.FailedByKind)
	}
}

func TestRawEcho(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "echo"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer l.Close()
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	r := run(t, Config{Target: "unix://" + l.Addr().String(), Duration: 300 * time.Millisecond, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 100, Raw: true, PayloadBytes: 10},
		{Pattern: KeepAlive, Clients: 5, Rate: 50, Raw: true, PayloadBytes: 10_000},
		{Pattern: InFlight, Clients: 1, Raw: true, PayloadBytes: 1},
	}})
	if r.Failed > 0 || r.Traffic[0].OK != 30 || r.Traffic[1].OK != 75 || r.Traffic[1].Connections != 5 || r.Traffic[2].OK == 0 {
		t.Errorf("%+v", r)
	}
}

func TestHTTPOverUnixSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, address := range []string{filepath.Join(dir, "http"), fmt.Sprintf("@supervisor-load-test-%d", os.Getpid())} {
		l, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler()}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		r := run(t, Config{Target: "unix://" + address, Duration: 100 * time.Millisecond, Traffic: []Traffic{
			{Pattern: NewConnection, Rate: 100, Body: "hello\n"},
		}})
		if r.OK != 10 {
			t.Errorf("%s: %+v", address, r)
		}
		server.Close()
		serving.Wait()
	}
}

func TestConnectionsComeFromSeveralAddresses(t *testing.T) {
	t.Parallel()
	var from sync.Map
	s := newFaultServer(t, func(s *faultServer, c *net.TCPConn, r *bufio.Reader) {
		from.Store(c.RemoteAddr().(*net.TCPAddr).IP.String(), true)
		answerWith(closeAnswer, finish)(s, c, r)
	})
	r := run(t, Config{Target: s.url, Duration: 50 * time.Millisecond, Traffic: []Traffic{{Pattern: NewConnection, Rate: 2000}}})
	seen := 0
	from.Range(func(any, any) bool { seen++; return true })
	want := max(len(sources(netip.MustParseAddr("127.0.0.1"), 2000, 0, ephemeralPorts())), 1)
	if r.OK != 100 || seen != want {
		t.Errorf("%d OK from %d addresses, want 100 from %d", r.OK, seen, want)
	}
}

// TestStallShowsInEveryRequestThatWasDue is the test against coordinated
// omission: a client that waits for an answer before it counts the next
// request would see one slow request; here a third of all are.
func TestStallShowsInEveryRequestThatWasDue(t *testing.T) {
	t.Parallel()
	const stall, duration = 300 * time.Millisecond, time.Second
	for _, pattern := range []Pattern{NewConnection, KeepAlive} {
		t.Run(string(pattern), func(t *testing.T) {
			t.Parallel()
			var open sync.RWMutex
			s := newFaultServer(t, serveWhile(&open))
			r, err := Start(t.Context(), Config{Target: s.url, Duration: duration, Traffic: []Traffic{
				{Pattern: pattern, Rate: 200, Clients: 1},
			}})
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(200 * time.Millisecond)
			open.Lock()
			r.Mark(Event{Label: "stall"})
			<-time.After(stall)
			open.Unlock()
			report := r.Stop
			<-r.Done()
			l := report().Traffic[0]
			checkSums(t, report())
			slow := 0
			for _, p := range l.Series {
				if p.P50MS > 50 {
					slow += p.OK
				}
			}
			if l.Failed > 0 || l.Requests != 200 {
				t.Fatalf("%+v", l)
			}
			// 60 were due during the stall; those due in its first 250 ms
			// waited for more than 50. A busy machine makes more of them slow.
			if slow < 40 {
				t.Errorf("%d of 200 requests were slow", slow)
			}
			if l.All.P99MS < 250 || l.All.MaxMS < 280 || l.AfterEvent.P99MS < 250 {
				t.Errorf("all %+v, after the event %+v", l.All, l.AfterEvent)
			}
		})
	}
}

// TestLatencyCountsFromWhenARequestWasDue: what the engine itself is late with
// is not taken off.
func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	t.Parallel()
	config := Config{Target: bothVersions(t, handler()), Duration: time.Second}.withDefaults()
	to, err := parseTarget(config.Target)
	if err != nil {
		t.Fatal(err)
	}
	for _, traffic := range []Traffic{
		{Pattern: NewConnection}, {Pattern: KeepAlive, Clients: 1},
		{Pattern: NewConnection, HTTP2: true}, {Pattern: KeepAlive, Clients: 1, HTTP2: true},
	} {
		traffic.Rate = 1
		l := newLoop(traffic.withDefaults(config), config, to, &generations{})
		l.started = time.Now().Add(-time.Minute)
		sendAt(t.Context(), l, time.Now().Add(-500*time.Millisecond))
		if samples := l.samples.all(); len(samples) != 1 || samples[0].failure != 0 || samples[0].duration() < 500*time.Millisecond {
			t.Errorf("%s, HTTP/2 %t: %+v", traffic.Pattern, traffic.HTTP2, samples)
		}
	}
}

// sendAt sends one request of a loop that was due at a time, and waits for its
// answer.
func sendAt(ctx context.Context, l *loop, due time.Time) {
	switch {
	case l.Pattern == NewConnection:
		var requests sync.WaitGroup
		l.newConnections(ctx, &requests)(due)
		requests.Wait()
	case l.HTTP2:
		k, over := &sharer{loop: l}, make(chan struct{})
		k.fire(ctx)(due)
		close(over)
		k.run(over)
	default:
		k := newKeepAlive(l)
		k.fire(due)
		close(k.queue)
		k.run(ctx)
	}
}

func TestEventsSeparateSteadyFromDisturbed(t *testing.T) {
	t.Parallel()
	r, err := Start(t.Context(), Config{
		Target: goodServer(t), Duration: 600 * time.Millisecond, AfterEvent: 100 * time.Millisecond,
		Traffic: []Traffic{{Pattern: NewConnection, Rate: 100}},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	r.Mark(Event{Label: "second", Time: r.started.Add(400 * time.Millisecond), Verdict: "aborted"})
	r.Mark(Event{Label: "first", Time: r.started.Add(200 * time.Millisecond), Verdict: "committed"})
	report := r.Stop()
	checkSums(t, report)
	l := report.Traffic[0]
	if l.AfterEvent.Count < 20 || l.AfterEvent.Count == 60 && l.All.P50MS < 10 {
		t.Errorf("%d of 60 requests in two windows of 100 ms", l.AfterEvent.Count)
	}
	if len(report.Events) != 2 || report.Events[0].Label != "first" || report.Events[0].Verdict != "committed" ||
		report.Events[1].AtSeconds != 0.4 || report.Events[1].After.Count < 10 {
		t.Errorf("%+v", report.Events)
	}
}

func TestRequestsBoundTheRun(t *testing.T) {
	t.Parallel()
	r := run(t, Config{Target: goodServer(t), Duration: time.Hour, Requests: 30, Traffic: []Traffic{
		{Pattern: NewConnection, Rate: 200}, {Pattern: KeepAlive, Clients: 3, Rate: 50},
		{Pattern: InFlight, Clients: 1},
	}})
	if n := r.Traffic[0].OK + r.Traffic[1].OK; n != 30 {
		t.Errorf("%d requests were due in the open loops", n)
	}
}

func TestStopAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	r, err := Start(t.Context(), Config{Target: goodServer(t), Duration: time.Hour, Traffic: []Traffic{
		{Name: "slow", Pattern: InFlight, Clients: 3, Path: "/slow"},
		{Pattern: NewConnection, Rate: 100, Path: "/slow"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for r.Snapshot().OK < 5 {
		runtime.Gosched()
	}
	if p := r.Snapshot(); p.InFlight == 0 || p.Failed > 0 || p.Requests < p.OK || p.ElapsedSeconds <= 0 || p.Traffic[0].Recent.P50MS < 30 {
		t.Errorf("%+v", p)
	}
	report := r.Stop()
	checkSums(t, report)
	if report.Failed+report.Unfinished > 0 {
		t.Errorf("%+v", report)
	}
	if again := r.Stop(); !reflect.DeepEqual(again, report) {
		t.Error("the second report is another one")
	}
}

func TestEndOfContextCutsEverythingOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	hang := newFaultServer(t, func(s *faultServer, _ *net.TCPConn, r *bufio.Reader) {
		s.readRequest(r)
		<-s.done
	})
	r, err := Start(ctx, Config{Target: goodServer(t), Duration: time.Hour, Traffic: []Traffic{
		{Name: "endless", Pattern: InFlight, Clients: 3, Path: "/endless"},
		{Pattern: KeepAlive, Clients: 5, Rate: 10, Target: hang.url},
		{Pattern: NewConnection, Rate: 100, Target: hang.url},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for hang.requests.Load() < 10 || r.Snapshot().Traffic[0].InFlight < 3 {
		runtime.Gosched()
	}
	cancel()
	select {
	case <-r.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the run goes on")
	}
	report := r.Stop()
	checkSums(t, report)
	if report.Failed > 0 || report.Unfinished < 3+10 {
		t.Errorf("%d failed (%v), %d unfinished", report.Failed, report.FailedByKind, report.Unfinished)
	}
}

func TestStopCutsOffAnEndlessStream(t *testing.T) {
	t.Parallel()
	r, err := Start(t.Context(), Config{Target: goodServer(t), Duration: time.Hour, Timeout: time.Second, Traffic: []Traffic{
		{Pattern: InFlight, Clients: 2, Path: "/endless"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for r.Snapshot().InFlight < 2 {
		runtime.Gosched()
	}
	if report := r.Stop(); report.Unfinished != 2 || report.Failed > 0 {
		t.Errorf("%+v", report)
	}
}

func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, func(*faultServer, *net.TCPConn, *bufio.Reader) {})
	r := run(t, Config{Target: s.url, Duration: 100 * time.Millisecond, Traffic: []Traffic{{Pattern: NewConnection, Rate: 100}}})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"requests":10`, `"failed_by_kind":{"`, `"p999_ms":0`, `"kind":"`, `"at_seconds":0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	var again Report
	if err := json.Unmarshal(text, &again); err != nil || again.Failed != r.Failed || len(again.Traffic[0].Failures) != len(r.Traffic[0].Failures) {
		t.Errorf("%v: %+v", err, again)
	}
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := Traffic{Pattern: NewConnection, Rate: 1}
	for want, c := range map[string]Config{
		"traffic: empty":         {},
		"duration":               {Traffic: []Traffic{good}, Target: "http://x", Duration: -1},
		"timeout: -1ns":          {Traffic: []Traffic{good}, Target: "http://127.0.0.1:1", Duration: 1, Timeout: -1},
		"max in flight":          {Traffic: []Traffic{good}, Target: "http://127.0.0.1:1", Duration: 1, MaxInFlight: -1},
		"is not http://":         {Traffic: []Traffic{good}, Duration: 1},
		"scheme \"ftp\"":         {Traffic: []Traffic{good}, Duration: 1, Target: "ftp://127.0.0.1:1"},
		"not HOST:PORT":          {Traffic: []Traffic{good}, Duration: 1, Target: "http://127.0.0.1:1/path"},
		"path of the Unix":       {Traffic: []Traffic{good}, Duration: 1, Target: "unix://"},
		"used twice":             {Traffic: []Traffic{good, good}, Duration: 1, Target: "http://127.0.0.1:1"},
		"pattern: unknown \"x\"": {Traffic: []Traffic{{Pattern: "x"}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"rate: 0":                {Traffic: []Traffic{{Pattern: KeepAlive, Clients: 1}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"clients: 0":             {Traffic: []Traffic{{Pattern: KeepAlive, Rate: 1}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"payload bytes: -1":      {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, PayloadBytes: -1}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"at least 1":             {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Raw: true}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"begin with /":           {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Path: "x"}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"is no HTTP":             {Traffic: []Traffic{good}, Duration: 1, Target: "tcp://127.0.0.1:1"},
		"raw: is not HTTP/2":     {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Raw: true, PayloadBytes: 1, HTTP2: true}}, Duration: 1, Target: "tcp://127.0.0.1:1"},
		"Connection is not for":  {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Header: http.Header{"Connection": {"close"}}}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"no name of a field":     {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Header: http.Header{"a b": {"c"}}}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"cannot be":              {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Header: http.Header{"A": {"b\r\nc"}}}}, Duration: 1, Target: "http://127.0.0.1:1"},
		"line break":             {Traffic: []Traffic{{Pattern: NewConnection, Rate: 1, Path: "/\r\nX: y"}}, Duration: 1, Target: "http://127.0.0.1:1"},
	} {
		r, err := Start(t.Context(), c)
		if err == nil {
			r.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot start load: ") {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{Traffic: []Traffic{good}, Duration: 1, Target: "http://127.0.0.1:1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
