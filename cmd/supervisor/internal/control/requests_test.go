package control

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

func TestRequestsThatWereMadeBefore(t *testing.T) {
	t.Parallel()
	stage := newStage()
	house := newTheatre(t, stage)
	_, _ = house.open(nil)
	for range 2 {
		go func() { _, _ = stage.Upgrade(t.Context(), upgrade.Request{}, func(upgrade.Step) {}) }()
	}
	stage.requests(2)
	stage.finish(1)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/v1/requests/1", 200, `{"request":1,"kind":"upgrade","verdict":"committed"`},
		{"/v1/requests/1?wait=false", 200, `{"request":1,`},
		{"/v1/requests/1?wait=true", 200, `{"report":{"request":1,`},
		{"/v1/requests/2", 202, `{"request":2,"running":true}`},
		{"/v1/requests/3", 404, `{"error":"nothing is known of request 3: there was none of this number, or it is not one of the latest"}`},
		{"/v1/requests/3?wait=true", 404, `{"error":"nothing is known of request 3`},
		{"/v1/requests/18446744073709551615", 404, "nothing is known"},
		{"/v1/requests/18446744073709551616", 400, "is not the number of a request"},
		{"/v1/requests/0", 400, "is not the number of a request"},
		{"/v1/requests/-1", 400, "is not the number of a request"},
		{"/v1/requests/x", 400, "is not the number of a request"},
		{"/v1/requests/1?wait", 400, "wait: must be true or false"},
		{"/v1/requests/1?wait=yes", 400, "wait: must be true or false"},
		{"/v1/requests/1?wait=true&wait=true", 400, "wait: is given twice"},
		{"/v1/requests/1?watch=1s", 400, "unknown parameter"},
		{"/v1/requests/1?a;b", 400, "cannot read the query"},
		{"/v1/requests/", 404, "there is no /v1/requests/"},
		{"/v1/requests/1/2", 404, "there is no /v1/requests/1/2"},
	} {
		if response, body := ask(t, house.path, "GET", c.path, ""); response.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s %s, want %d with %s", c.path, response.Status, body, c.status, c.want)
		}
	}
	if response, body := ask(t, house.path, "POST", "/v1/requests/1", ""); response.StatusCode != 405 || !strings.Contains(body, "/v1/requests/1 does not answer POST") {
		t.Errorf("%s %s, want 405", response.Status, body)
	}
	stage.finish(2)
}

// TestWaitingForARequestThatWasMadeBefore is like waiting for one's own.
func TestWaitingForARequestThatWasMadeBefore(t *testing.T) {
	t.Parallel()
	stage := newStage()
	house := newTheatre(t, stage)
	_, _ = house.open(nil)
	go func() { _, _ = stage.Upgrade(t.Context(), upgrade.Request{}, func(upgrade.Step) {}) }()
	stage.requests(1)
	stream := house.dial()
	if _, err := io.WriteString(stream, "GET /v1/requests/1?wait=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		stage.mu.Lock()
		audience := len(stage.audience[1])
		stage.mu.Unlock()
		if audience == 2 {
			break
		}
		if _, err := NewClient(house.path).Version(t.Context()); err != nil { // time passes
			t.Fatal(err)
		}
	}
	stage.tell(1, 0) // while it is found out that it is under way
	stage.gone(1)
	stage.mu.Lock()
	stage.until(func() bool { return len(stage.audience[1]) == 2 })
	stage.mu.Unlock()
	stage.tell(1, 1)
	stage.finish(1)
	text, err := io.ReadAll(stream)
	if got, want := date.ReplaceAllString(string(text), ""), answerText("1.1", 1, 2); err != nil || got != want {
		t.Errorf("error %v:\n%q\nwant\n%q", err, got, want)
	}
}

func TestSupervisorThatCannotTellOfARequest(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{err: errEnded})
	if response, body := ask(t, socket, http.MethodGet, "/v1/requests/1", ""); response.StatusCode != 503 || !strings.Contains(body, "cannot tell of request 1: the supervisor has ended") {
		t.Errorf("%s %s", response.Status, body)
	}
}

func FuzzAskedRequest(f *testing.F) {
	f.Add("1", "wait=true")
	f.Add("0", "")
	f.Add("18446744073709551615", "wait=0")
	f.Add("x", "wait&a;b")
	f.Fuzz(func(t *testing.T, word, query string) {
		n, wait, err := askedRequest(word, query)
		if err == nil && n == 0 || err != nil && (n != 0 || wait) {
			t.Errorf("%q, %q: %d, %v, %v", word, query, n, wait, err)
		}
	})
}
