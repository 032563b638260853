package demo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

func TestExampleAnswersWhatTheTrafficExpects(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(Example{Version: "v1"}.routes(7))
	defer server.Close()
	c := Config{Rate: 200, Duration: minDuration, Upgrades: 1, Bake: minBake}
	traffic := c.load(strings.TrimPrefix(server.URL, "http://"))
	traffic.Duration = 200 * time.Millisecond
	run, err := load.Start(t.Context(), traffic)
	if err != nil {
		t.Fatal(err)
	}
	<-run.Done()
	report := run.Stop()
	for _, r := range report.Traffic {
		if r.OK == 0 && r.Pattern == load.InFlight || r.Failed > 0 || r.OK != r.Generations["7"] {
			t.Errorf("%s: %d answered, %d failed: %v, by generation %v", r.Name, r.OK, r.Failed, r.Failures, r.Generations)
		}
	}
}

func TestExampleLosesOnRequest(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(Example{Version: "v1", LoseEvery: 2}.routes(1))
	defer server.Close()
	for i := range 4 {
		response, err := server.Client().Post(server.URL+"/echo", "text/plain", strings.NewReader("hello"))
		if lost := i%2 == 1; (err != nil) != lost {
			t.Fatalf("request %d: error %v", i, err)
		}
		if err != nil {
			continue
		}
		if body, err := io.ReadAll(response.Body); string(body) != "hello" || err != nil {
			t.Errorf("answer is %q, %v", body, err)
		}
		response.Body.Close()
	}
}

func TestExampleRefusesTimesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	handler := Example{}.routes(1)
	for _, path := range []string{"/slow", "/slow?for=x", "/slow?for=-1s", "/stream?for=1h", "/stream?for=0"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, path, nil))
		if answer.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d", path, answer.Code)
		}
	}
}

func TestExampleThatCrashesSaysWhy(t *testing.T) {
	t.Parallel()
	if err := (Example{Version: "v3", Fault: Crash}).Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "v3 cannot find its tables") {
		t.Errorf("error is %v", err)
	}
	if err := (Example{Fault: "typo"}).Validate(); err == nil || !strings.Contains(err.Error(), `--fault: unknown "typo"`) {
		t.Errorf("error is %v", err)
	}
}
