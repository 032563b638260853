package trial

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
)

// An actor acts by a function.
type actor func(ctx context.Context) Attempt

func (a actor) Act(ctx context.Context, _ func(string)) Attempt {
	began := time.Now()
	attempt := a(ctx)
	attempt.What, attempt.began, attempt.interrupted = "something", began, ctx.Err() != nil
	return attempt
}

func good(context.Context) Attempt { return Attempt{OK: true, Verdict: Done} }

// server answers with 200, or with what it is told to.
func server(t *testing.T) (url string, status *atomic.Int32) {
	t.Helper()
	status = new(atomic.Int32)
	status.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	t.Cleanup(s.Close)
	return s.URL, status
}

func configured(url string, every time.Duration, a actor) Config {
	return Config{URL: url, Every: every, Actor: a, Load: load.Config{
		Target: url, Duration: 300 * time.Millisecond, AfterEvent: time.Second,
		Traffic: []load.Traffic{{Name: "new", Pattern: load.NewConnection, Rate: 100}},
	}}
}

func run(t *testing.T, ctx context.Context, c Config) Result {
	t.Helper()
	r, err := Run(ctx, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != r.Answered+r.Failed+r.Unfinished || r.OK != (len(r.Problems) == 0) {
		t.Errorf("does not add up: %+v", r)
	}
	return r
}

func TestRunWithoutAnActorSendsExactlyWhatIsAsked(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	c := configured(url, 0, nil)
	if r := run(t, t.Context(), c); !r.OK || r.Requests != 30 || len(r.Attempts) != 0 {
		t.Errorf("%+v", r)
	}
	c.Load.Requests, c.Load.Duration = 12, time.Hour
	if r := run(t, t.Context(), c); !r.OK || r.Requests != 12 {
		t.Errorf("%+v", r)
	}
}

// TestTrafficGoesOnUntilTheLastVerdict, though its time is over before.
func TestTrafficGoesOnUntilTheLastVerdict(t *testing.T) {
	t.Parallel()
	url, status := server(t)
	r := run(t, t.Context(), configured(url, 100*time.Millisecond, func(context.Context) Attempt {
		<-time.After(400 * time.Millisecond) // past the end of the run
		status.Store(http.StatusTeapot)
		<-time.After(100 * time.Millisecond)
		return Attempt{OK: true, Verdict: Done}
	}))
	if len(r.Attempts) != 1 || r.Failed == 0 || r.Attempts[0].Failed != r.Failed || r.DurationSeconds < 0.6 || r.OK {
		t.Errorf("%+v", r)
	}
}

// TestUnknownVerdictIsNotAskedForAtOnce: nobody answers, for example because the
// supervisor has gone; that need not take any time.
func TestUnknownVerdictIsNotAskedForAtOnce(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var last time.Time
	c := configured(url, 100*time.Millisecond, func(context.Context) Attempt {
		if !last.IsZero() {
			if pause := time.Since(last); pause < 50*time.Millisecond {
				t.Errorf("the next one after %v", pause)
			}
			interrupt()
			return Attempt{Verdict: Unknown}
		}
		<-time.After(250 * time.Millisecond) // two more are due by then
		last = time.Now()
		return Attempt{Verdict: Unknown, Reason: "nobody answers"}
	})
	c.Load.Duration = time.Hour
	if r := run(t, ctx, c); r.OK || len(r.Attempts) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestResultHasAllThatTheTrafficTells(t *testing.T) {
	t.Parallel()
	report := load.Report{
		DurationSeconds: 2, Requests: 9, OK: 4, Failed: 3, Unfinished: 2, Resent: 5,
		FailedByKind: map[load.FailureKind]uint64{load.EOF: 3}, Generations: map[string]uint64{"7": 4},
		StartLag: load.Latency{Count: 9, MaxMS: 11}, Traffic: []load.TrafficReport{{Name: "a", Requests: 9, OK: 4, Resent: 5}},
		Events: []load.EventReport{{Failed: 1, After: load.Latency{Count: 3}}, {Failed: 2}},
	}
	r := newResult(Config{})
	r.Attempts = make([]Attempt, len(report.Events))
	r.take(report)
	for i, e := range report.Events {
		if a := r.Attempts[i]; a.Failed != e.Failed || a.After != e.After {
			t.Errorf("attempt %d: %+v, want %+v", i, a, e)
		}
	}
	if r.Counts != (figures.Counts{Requests: 9, Answered: 4, Failed: 3, Unfinished: 2}) || r.DurationSeconds != 2 || r.Resent != 5 ||
		r.FailedByKind[load.EOF] != 3 || r.Answers["7"] != 4 || r.StartLag != report.StartLag || len(r.Traffic) != 1 || r.Traffic[0].Answered != 4 || r.Traffic[0].Resent != 5 {
		t.Errorf("%+v", r)
	}
}

func TestRequestsEndARunWithAnActor(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	c := configured(url, 20*time.Millisecond, good)
	c.Load.Duration, c.Load.Requests = time.Hour, 20
	if r := run(t, t.Context(), c); !r.OK || r.Requests < 20 || len(r.Attempts) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestBadAttemptsAreProblems(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	r := run(t, t.Context(), configured(url, 200*time.Millisecond, func(context.Context) Attempt {
		return Attempt{Verdict: "rolled-back", Reason: "it was sick"}
	}))
	if r.OK || r.Failed > 0 || !strings.Contains(strings.Join(r.Problems, "\n"), "1, something: rolled-back: it was sick") {
		t.Errorf("%+v", r)
	}
	r = run(t, t.Context(), configured(url, time.Hour, good))
	if r.OK || !strings.Contains(r.Problems[0], "nothing was done to the service") {
		t.Errorf("%+v", r)
	}
}

// TestInterruptedRunIsReported, and what was cut short by it is no problem.
func TestInterruptedRunIsReported(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	ctx, interrupt := context.WithCancel(t.Context())
	c := configured(url, 20*time.Millisecond, func(ctx context.Context) Attempt {
		interrupt()
		<-ctx.Done()
		return Attempt{Verdict: Unknown}
	})
	c.Load.Duration = time.Hour
	r := run(t, ctx, c)
	if !r.Interrupted || !r.OK || len(r.Attempts) != 1 || r.Unfinished > 0 {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil || !strings.Contains(b.String(), "interrupted after ") {
		t.Error(err, b.String())
	}
}

// TestHurryCutsOffWhatIsInFlight after an interrupt.
func TestHurryCutsOffWhatIsInFlight(t *testing.T) {
	t.Parallel()
	arrived, done := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if once.CompareAndSwap(false, true) {
			close(arrived)
		}
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer s.Close()
	defer close(done)
	ctx, interrupt := context.WithCancel(t.Context())
	hurry := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { close(hurry) })
	defer stop()
	c := configured(s.URL, 0, nil)
	c.Load.Traffic, c.Load.Timeout = []load.Traffic{{Pattern: load.InFlight, Clients: 2}}, time.Hour
	c.Load.Duration = time.Hour
	waiting := context.AfterFunc(t.Context(), interrupt)
	defer waiting()
	go func() { // ends when a request has come
		<-arrived
		interrupt()
	}()
	r, err := Run(ctx, hurry, c)
	if err != nil || !r.Interrupted || r.Unfinished == 0 || r.OK {
		t.Errorf("%v %+v", err, r)
	}
}

func TestRunSaysWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	c := configured("http://127.0.0.1:1", 0, nil)
	c.Load.Traffic = nil
	if _, err := Run(t.Context(), nil, c); err == nil {
		t.Error("a run without traffic")
	}
}

func TestCommandTellsHowItWent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		words   []string
		verdict string
		what    string
		reason  string
	}{
		"well":    {[]string{"true"}, Done, "true", ""},
		"badly":   {[]string{"sh", "-c", "echo one; echo two >&2; exit 3"}, Broken, "sh", "exit status 3: one two"},
		"missing": {[]string{"/no/such/program-with-a-long-name"}, Broken, "program-with-…", "no such file"},
		"much":    {[]string{"sh", "-c", "seq 100000; exit 1"}, Broken, "sh", "99999 100000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := Command{test.words}.Act(t.Context(), func(string) {})
			if a.Verdict != test.verdict || a.OK != (test.verdict == Done) || a.What != test.what || !strings.Contains(a.Reason, test.reason) || len(a.Reason) > spoken+100 {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestCommandIsKilledWithWhatItStarted at an interrupt.
func TestCommandIsKilledWithWhatItStarted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	a := Command{[]string{"sh", "-c", "sleep 1000 & sleep 1000"}}.Act(ctx, func(string) { time.AfterFunc(50*time.Millisecond, interrupt) })
	if !a.interrupted || a.OK || a.DurationSeconds > 100 || a.Verdict != Unknown || a.Reason != "interrupted; it was killed" {
		t.Errorf("%+v", a)
	}
}

// TestCommandThatWasFasterThanTheInterruptIsDone, and not called cut short.
func TestCommandThatWasFasterThanTheInterruptIsDone(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, words := range [][]string{{"true"}, {"/no/such/program"}} {
		if a := (Command{words}).Act(ctx, func(string) {}); !a.OK && !a.interrupted || a.OK && a.Reason != "" {
			t.Errorf("%+v", a)
		}
	}
}
