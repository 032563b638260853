package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
)

func newReader(s string) io.Reader { return strings.NewReader(s) }

// running is a status with one active generation.
func running() upgrade.Status {
	ready := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return upgrade.Status{
		Service: "web", PID: 7, Phase: upgrade.PhaseIdle,
		Generations: []upgrade.GenerationStatus{{Generation: 3, Role: upgrade.RoleActive, PID: 9, Ready: &ready}},
		Release:     &upgrade.Release{Program: upgrade.Program{Command: []string{"web"}, Dir: "/srv", Env: []string{"A=1"}}},
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{status: running()})
	for path, want := range map[string]string{
		"/v1/version": `{"service":"web","pid":7,"version":"v1","go":"go1","platform":"linux/any","protocol":1}`,
		"/healthz":    `{"status":"ok","active_generation":3}`,
		"/metrics":    `a_metric 1`,
	} {
		response, body := ask(t, socket, "GET", path, "")
		if response.StatusCode != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %s %s\nwant %s", path, response.Status, body, want)
		}
	}
	_, body := ask(t, socket, "GET", "/v1/status", "")
	var status upgrade.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || status.Generations[0].PID != 9 {
		t.Errorf("status %s: %v", body, err)
	}
}

func TestNoActiveGenerationIsNotHealthy(t *testing.T) {
	t.Parallel()
	status := running()
	status.Generations[0].Role = upgrade.RoleRestarting
	response, body := ask(t, serve(t, &fake{status: status}), "GET", "/healthz", "")
	if response.StatusCode != 503 || !strings.Contains(body, `{"error":"no generation is active and ready"}`) {
		t.Errorf("%s %s, want 503 with the reason", response.Status, body)
	}
}

func TestSupervisorThatHasEnded(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{err: errEnded})
	for _, path := range []string{"/v1/status", "/healthz"} {
		response, body := ask(t, socket, "GET", path, "")
		if response.StatusCode != 503 || !strings.Contains(body, errEnded.Error()) {
			t.Errorf("%s: %s %s, want 503 with the reason", path, response.Status, body)
		}
	}
	response, body := ask(t, socket, "POST", "/v1/upgrade", "")
	if response.StatusCode != 200 || body != `{"error":"the verdict is not known: the supervisor has ended"}`+"\n" {
		t.Errorf("%s %s, want a stream that says so", response.Status, body)
	}
	if response, _ := ask(t, socket, "POST", "/v1/upgrade", `{"program":{"command":["/new"]}}`); response.StatusCode != 503 {
		t.Errorf("%s, want 503", response.Status)
	}
}

func TestUpgradeStreamsStepsAndTheReport(t *testing.T) {
	t.Parallel()
	f := &fake{
		status: running(),
		steps:  []upgrade.Step{{Request: 1, Phase: upgrade.PhaseAdmission, Text: "may it?"}, {Request: 1, Phase: upgrade.PhaseStart, Text: "starts"}},
		report: upgrade.Report{Request: 1, Kind: upgrade.KindUpgrade, Verdict: upgrade.Committed, Reason: "fine", To: 2},
	}
	socket := serve(t, f)
	response, body := ask(t, socket, "POST", "/v1/upgrade", `{"force":true,"wait_drain":true,"timeout_ns":5000000000,"reason":"change 1"}`)
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 3 ||
		!strings.HasPrefix(lines[0], `{"step":{"request":1,`) || !strings.HasPrefix(lines[2], `{"report":{"request":1,"kind":"upgrade","verdict":"committed"`) {
		t.Errorf("%s %v\n%s", response.Status, response.Header, body)
	}
	want := upgrade.Request{Force: true, WaitDrain: true, Timeout: 5 * time.Second, Reason: "change 1"}
	if kind, got := f.request(); kind != upgrade.KindUpgrade || !reflect.DeepEqual(got, want) {
		t.Errorf("asked %s for %+v, want %+v", kind, got, want)
	}
	ask(t, socket, "POST", "/v1/rollback", "")
	if kind, got := f.request(); kind != upgrade.KindRollback || !reflect.DeepEqual(got, upgrade.Request{}) {
		t.Errorf("asked %s for %+v, want a plain rollback", kind, got)
	}
}

func TestNewProgramKeepsDirectoryAndEnvironment(t *testing.T) {
	t.Parallel()
	f := &fake{status: running()}
	socket := serve(t, f)
	for body, want := range map[string]upgrade.Program{
		`{"program":{"command":["/new","-x"]}}`:                           {Command: []string{"/new", "-x"}, Dir: "/srv", Env: []string{"A=1"}},
		`{"program":{"command":["new"],"dir":"/other"}}`:                  {Command: []string{"new"}, Dir: "/other", Env: []string{"A=1"}},
		`{"program":{"command":["/new"],"dir":"/other","env":[]}}`:        {Command: []string{"/new"}, Dir: "/other", Env: []string{}},
		`{"program":{"command":["/new"],"env":["B=2"],"dir":"/o"}}` + " ": {Command: []string{"/new"}, Dir: "/o", Env: []string{"B=2"}},
	} {
		ask(t, socket, "POST", "/v1/upgrade", body)
		if _, got := f.request(); got.Program == nil || !reflect.DeepEqual(*got.Program, want) {
			t.Errorf("%s: asked for %+v, want %+v", body, got.Program, want)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := &fake{status: running()}
	socket := serve(t, f)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/upgrade", "", 405, "/v1/upgrade does not answer GET"},
		{"POST", "/v1/status", "", 405, "/v1/status does not answer POST"},
		{"DELETE", "/v1/stop", "", 405, "/v1/stop does not answer DELETE"},
		{"GET", "/", "", 404, "there is no /; see docs/control-api.md"},
		{"GET", "/v2/status", "", 404, "there is no /v2/status"},
		{"POST", "/v1/upgrade", "{", 400, "cannot read the request: unexpected EOF"},
		{"POST", "/v1/upgrade", "[]", 400, "cannot read the request: it is not a JSON object"},
		{"POST", "/v1/upgrade", "null", 400, "it is not a JSON object"},
		{"POST", "/v1/rollback", " null ", 400, "it is not a JSON object"},
		{"POST", "/v1/stop", "null", 400, "it is not a JSON object"},
		{"POST", "/v1/stop", `"now"`, 400, "it is not a JSON object"},
		{"POST", "/v1/upgrade", "{} {}", 400, "something follows the JSON object"},
		{"POST", "/v1/upgrade", `{"forec":true}`, 400, `unknown field \"forec\"`},
		{"POST", "/v1/upgrade", `{"force":1}`, 400, "cannot read the request: json"},
		{"POST", "/v1/upgrade", `{"timeout_ns":-1}`, 400, "timeout_ns: must not be negative"},
		{"POST", "/v1/upgrade", `{"reason":"a\nb"}`, 400, "reason: contains a control character"},
		{"POST", "/v1/upgrade", `{"reason":"` + strings.Repeat("x", 1025) + `"}`, 400, "reason: has 1025 bytes, more than 1024"},
		{"POST", "/v1/upgrade", `{"program":{}}`, 400, "program.command: no program given"},
		{"POST", "/v1/upgrade", `{"program":{"command":[""]}}`, 400, "program.command: no program given"},
		{"POST", "/v1/upgrade", `{"program":{"command":["./web"]}}`, 400, "is a relative path"},
		{"POST", "/v1/upgrade", `{"program":{"command":["/web","a\u0000b"]}}`, 400, "contains a NUL byte"},
		{"POST", "/v1/upgrade", `{"program":{"command":["/web"],"dir":"srv"}}`, 400, `program.dir: \"srv\" is a relative path`},
		{"POST", "/v1/upgrade", `{"program":{"command":["/web"],"env":["A"]}}`, 400, "program.env:"},
		{"POST", "/v1/rollback", `{"program":{"command":["/web"]}}`, 400, "a rollback takes none"},
		{"POST", "/v1/stop", `{"soon":true}`, 400, `unknown field \"soon\"`},
		{"POST", "/v1/upgrade", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, 413, "the request has more than 1048576 bytes"},
	} {
		response, body := ask(t, socket, c.method, c.path, c.body)
		var answer failure
		if err := json.Unmarshal([]byte(body), &answer); response.StatusCode != c.status || err != nil || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %.60s: %s %s, want %d with %q", c.method, c.path, c.body, response.Status, body, c.status, c.want)
		}
		if c.status == 405 && response.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", c.method, c.path)
		}
	}
	if kind, _ := f.request(); kind != "" || len(f.stops) > 0 {
		t.Errorf("the supervisor was asked all the same: %s, %v", kind, f.stops)
	}
}

func TestCallerThatGoesAwayDoesNotStopTheServer(t *testing.T) {
	t.Parallel()
	f := &fake{steps: []upgrade.Step{{Request: 1}}, block: make(chan struct{})}
	socket := serve(t, f)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('}'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	deadline := time.After(10 * time.Second)
	for {
		f.mu.Lock()
		gone := f.gaveUp
		f.mu.Unlock()
		if gone {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the caller's end was not seen")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if response, _ := ask(t, socket, "GET", "/v1/status", ""); response.StatusCode != 200 {
		t.Errorf("%s, want 200", response.Status)
	}
}

func TestStopAnswersWhenAllHasEnded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	socket := serve(t, f)
	for _, body := range []string{"", `{}`, `{"now":true}`} {
		response, answer := ask(t, socket, "POST", "/v1/stop", body)
		if response.StatusCode != 200 || answer != `{"stopped":true}`+"\n" {
			t.Errorf("%q: %s %s", body, response.Status, answer)
		}
	}
	if want := []bool{false, false, true}; !slices.Equal(f.stops, want) {
		t.Errorf("stops %v, want %v", f.stops, want)
	}
}

func TestOnlyRootAndOurselvesMayAsk(t *testing.T) {
	t.Parallel()
	for uid, want := range map[int]bool{0: true, 1000: true, 1001: false, -1: false} {
		if got := allowed(uid, 1000); got != want {
			t.Errorf("uid %d: %v, want %v", uid, got, want)
		}
	}
	for _, c := range []struct {
		peer rundir.Peer
		err  error
		says string
	}{
		{rundir.Peer{PID: 5, UID: ownUID() + 1}, nil, "uid "},
		{rundir.Peer{}, errors.New("cannot tell"), "uid "},
		{rundir.Peer{}, nil, "the supervisor does not see who asks, which is in another pid namespace"}, // what SO_PEERCRED says of it
	} {
		f := &fake{status: running()}
		socket := serveAs(t, f, func(net.Conn) (rundir.Peer, error) { return c.peer, c.err })
		for _, path := range []string{"/v1/status", "/metrics", "/healthz", "/none"} {
			if response, body := ask(t, socket, "GET", path, ""); response.StatusCode != 403 || !strings.Contains(body, `{"error":"`+c.says) {
				t.Errorf("%s: %s %s, want 403 and %q", path, response.Status, body, c.says)
			}
		}
		if response, _ := ask(t, socket, "POST", "/v1/stop", ""); response.StatusCode != 403 || len(f.stops)+f.statuses > 0 {
			t.Errorf("%s, want 403 and nothing done", response.Status)
		}
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	f := &fake{
		status: running(),
		steps:  []upgrade.Step{{Request: 4, Phase: upgrade.PhaseGate, Text: "open"}},
		report: upgrade.Report{Request: 4, Verdict: upgrade.Aborted, Reason: strings.Repeat("long ", 100_000)},
	}
	c := NewClient(serve(t, f))
	status, err := c.Status(t.Context())
	if err != nil || status.Service != "web" || c.PID() != os.Getpid() {
		t.Errorf("status %+v, pid %d, error %v", status, c.PID(), err)
	}
	if version, err := c.Version(t.Context()); err != nil || version.Service != "web" {
		t.Errorf("version %+v, error %v", version, err)
	}
	var seen []string
	report, err := c.Attempt(t.Context(), upgrade.KindRollback, upgrade.Request{Reason: "x"}, func(raw []byte, l Line) {
		if l.Step != nil {
			seen = append(seen, l.Step.Text)
		}
		if !json.Valid(raw) {
			t.Errorf("not JSON: %.80s", raw)
		}
	})
	if err != nil || !reflect.DeepEqual(report, f.report) || !slices.Equal(seen, []string{"open"}) {
		t.Errorf("report %.200v, steps %v, error %v", report, seen, err)
	}
	if err := c.Stop(t.Context(), true); err != nil || !slices.Equal(f.stops, []bool{true}) {
		t.Errorf("stops %v, error %v", f.stops, err)
	}
	var refused *RefusedError
	_, err = c.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{Timeout: -1}, nil)
	if !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(err.Error(), "timeout_ns") {
		t.Errorf("error %v, want the supervisor's reason", err)
	}
}

func TestClientOfALostSupervisor(t *testing.T) {
	t.Parallel()
	ignore := func([]byte, Line) {}
	none := NewClient(t.TempDir() + "/none.sock")
	if _, err := none.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no supervisor is running there") {
		t.Errorf("error %v, want that nobody is there", err)
	}
	ended := NewClient(serve(t, &fake{err: errEnded}))
	if _, err := ended.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{}, ignore); !errors.Is(err, ErrLost) {
		t.Errorf("error %v, want %v", err, ErrLost)
	}
	for name, answer := range map[string]string{
		"closes at once":      "",
		"closes after header": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"closes in a line":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ste",
		"ends the stream":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n",
		"is not JSON":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n",
	} {
		c := NewClient(answerOnce(t, answer))
		if _, err := c.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{}, ignore); !errors.Is(err, ErrLost) {
			t.Errorf("%s: error %v, want %v", name, err, ErrLost)
		}
	}
}

// answerOnce answers the first request with the text, then closes.
func answerOnce(t *testing.T, text string) string {
	t.Helper()
	path := t.TempDir() + "/control.sock"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(conn, text)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path
}

func TestClientThatIsInterrupted(t *testing.T) {
	t.Parallel()
	f := &fake{steps: []upgrade.Step{{Request: 1}}, block: make(chan struct{})}
	c := NewClient(serve(t, f))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Attempt(ctx, upgrade.KindUpgrade, upgrade.Request{}, func([]byte, Line) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, body := range []string{"", "{}", `{"program":{"command":["/a","b"],"dir":"/d","env":["A=1"]},"force":true,"wait_drain":true,"timeout_ns":1,"reason":"x"}`, `{} {}`, `null`, `{"program":null}`, "{\"reason\":\"\\u0000\"}"} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, rollback bool) {
		kind := upgrade.KindUpgrade
		if rollback {
			kind = upgrade.KindRollback
		}
		r, err := decodeRequest(strings.NewReader(string(body)), kind)
		if err != nil {
			return
		}
		if r.Timeout < 0 || len(r.Reason) > maxNote || rollback && r.Program != nil || r.Program != nil && len(r.Program.Command) == 0 {
			t.Errorf("%s was accepted as %+v", body, r)
		}
		// What was understood can be said again.
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeRequest(strings.NewReader(string(encoded)), kind); err != nil || !same(again, r) {
			t.Errorf("%s: %+v became %+v, %v", body, r, again, err)
		}
	})
}

// same compares requests as JSON sees them.
func same(a, b upgrade.Request) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestRefusalOfAUserLogsAnErrorOnlyIfThereIsOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who  identity
		want string
	}{
		{identity{peer: rundir.Peer{PID: 5, UID: ownUID() + 1}}, "peer_pid=5"},
		{identity{err: errors.New("unknown")}, "error=unknown"},
	} {
		var log strings.Builder
		s := &Server{cfg: ServerConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
		request := httptest.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, c.who), "GET", "/v1/status", nil)
		s.allow(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), request)
		if text := log.String(); !strings.Contains(text, c.want) || strings.Contains(text, "nil") {
			t.Errorf("logged %q, want %q", text, c.want)
		}
	}
}
