package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// A play is one connection after the other, each answered with a text and then
// closed; the path of the question is kept. A pause is no socket at all.
type play struct {
	socket string
	asked  chan string
}

// perform answers with the scenes, one connection each, and then as the last
// one again and again.
func perform(t *testing.T, scenes ...string) *play {
	t.Helper()
	p := &play{filepath.Join(t.TempDir(), "control.sock"), make(chan string, 1000)}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked <- r.Method + " " + r.URL.String()
		scene := scenes[min(int(next.Add(1)), len(scenes))-1]
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(scene))
	})}
	server.SetKeepAlivesEnabled(false)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return p
}

// questions are those that were asked.
func (p *play) questions() []string {
	var all []string
	for len(p.asked) > 0 {
		all = append(all, <-p.asked)
	}
	return all
}

// scene is the beginning of an answer with some lines, or all of it.
func scene(whole bool, lines ...Line) string {
	var text strings.Builder
	text.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, l := range lines {
		line, _ := json.Marshal(l)
		fmt.Fprintf(&text, "%x\r\n%s\n\r\n", len(line)+1, line)
	}
	if whole {
		text.WriteString("0\r\n\r\n")
	}
	return text.String()
}

func refusing(status int, reason string) string {
	body := `{"error":"` + reason + `"}`
	return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func stepLine(n uint64, i int) Line {
	step := stepOf(n, i)
	return Line{Step: &step}
}

func reportLine(n uint64) Line {
	report := reportOf(n)
	return Line{Report: &report}
}

// follow attempts an upgrade and returns what was said: the seconds of steps,
// and notes.
func follow(t *testing.T, p *play, reconnect time.Duration) (upgrade.Report, []string, error) {
	t.Helper()
	c := NewClient(p.socket)
	c.Reconnect = reconnect
	var said []string
	report, err := c.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{}, func(raw []byte, l Line) {
		if !json.Valid(raw) {
			t.Errorf("not JSON: %s", raw)
		}
		switch {
		case l.Step != nil:
			said = append(said, fmt.Sprint(l.Step.ElapsedSeconds))
		case l.Note != "":
			said = append(said, "lost")
			if l.Note != noteLost || !strings.Contains(string(raw), `{"note":`) {
				t.Errorf("says %s", raw)
			}
		case l.Report != nil:
			said = append(said, "report")
		}
	})
	return report, said, err
}

// TestClientFollowsItsRequestToTheNextSupervisor however often one is lost.
func TestClientFollowsItsRequestToTheNextSupervisor(t *testing.T) {
	t.Parallel()
	half := stepLine(3, 9)
	for name, c := range map[string]struct {
		scenes []string
		said   []string
	}{
		"once": {
			[]string{scene(false, stepLine(3, 0), stepLine(3, 1)), scene(true, stepLine(3, 2), reportLine(3))},
			[]string{"0", "1", "lost", "2", "report"},
		},
		"in the middle of a line": {
			[]string{strings.TrimSuffix(scene(false, stepLine(3, 0), half), "\n\r\n")[:200], scene(true, reportLine(3))},
			[]string{"0", "lost", "report"},
		},
		"properly, as it seems": {
			[]string{scene(true, stepLine(3, 0)), scene(true, reportLine(3))},
			[]string{"0", "lost", "report"},
		},
		"before the next one answers": {
			[]string{scene(false, stepLine(3, 0)), "", "HTTP/1.1 200", refusing(503, "cannot tell yet"), scene(true, reportLine(3))},
			[]string{"0", "lost", "report"},
		},
		"twice": {
			[]string{scene(false, stepLine(3, 0)), scene(false, stepLine(3, 1)), scene(false), scene(true, reportLine(3))},
			[]string{"0", "lost", "1", "lost", "lost", "report"},
		},
	} {
		p := perform(t, c.scenes...)
		report, said, err := follow(t, p, time.Minute)
		if err != nil || report.Request != 3 || report.Verdict != upgrade.Committed || !slices.Equal(said, c.said) {
			t.Errorf("%s: %+v, said %q, error %v", name, report, said, err)
		}
		if asked := p.questions(); asked[0] != "POST /v1/upgrade" || asked[1] != "GET /v1/requests/3?wait=true" {
			t.Errorf("%s: asked %q", name, asked)
		}
	}
}

// TestClientThatCannotTell says so, and does not take one request for another.
func TestClientThatCannotTell(t *testing.T) {
	t.Parallel()
	later, other := stepOf(3, 0), reportOf(3)
	later.Time = later.Time.Add(time.Hour)
	other.Kind = upgrade.KindRollback
	for name, c := range map[string]struct {
		scenes []string
		want   string
		asked  int
	}{
		"no number":             {[]string{scene(false)}, ErrLost.Error(), 1},
		"no answer":             {[]string{""}, ErrLost.Error(), 1},
		"ended by will":         {[]string{scene(true, stepLine(3, 0), Line{Error: "the supervisor has ended"})}, "the supervisor has ended", 1},
		"does not know":         {[]string{scene(false, stepLine(3, 0)), refusing(404, "nothing is known of request 3")}, "the next one cannot tell it: nothing is known of request 3", 2},
		"not for us":            {[]string{scene(false, stepLine(3, 0)), refusing(403, "uid 7 may not")}, "uid 7 may not", 2},
		"a later request":       {[]string{scene(false, stepLine(3, 0)), scene(true, Line{Step: &later})}, "the next one tells of another request 3", 2},
		"another kind":          {[]string{scene(false, stepLine(3, 0)), scene(true, Line{Report: &other})}, "the next one tells of another request 3", 2},
		"another number":        {[]string{scene(false, stepLine(3, 0)), scene(true, reportLine(4))}, "the next one tells of another request 4", 2},
		"ended by will as well": {[]string{scene(false, stepLine(3, 0)), scene(true, Line{Error: "the verdict is not known: x"})}, "the verdict is not known: x", 2},
	} {
		p := perform(t, c.scenes...)
		_, _, err := follow(t, p, time.Minute)
		var refused *RefusedError
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), c.want) || errors.As(err, &refused) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if asked := p.questions(); len(asked) != c.asked {
			t.Errorf("%s: asked %q, want %d questions", name, asked, c.asked)
		}
	}
}

// TestClientWaitsNoLongerThanItIsTold for a supervisor that does not come, or
// does not answer.
func TestClientWaitsNoLongerThanItIsTold(t *testing.T) {
	t.Parallel()
	p := perform(t, scene(false, stepLine(3, 0)), "")
	_, said, err := follow(t, p, 300*time.Millisecond)
	if !errors.Is(err, ErrLost) || !errors.Is(err, errNobody) || !strings.Contains(err.Error(), "within 300ms") || len(said) != 2 {
		t.Errorf("said %q, error %v", said, err)
	}
	if asked := p.questions(); len(asked) < 3 || len(asked) > 20 {
		t.Errorf("asked %d times: %q", len(asked), asked)
	}
	p = perform(t, scene(false, stepLine(3, 0)), "")
	if _, said, err := follow(t, p, 0); err.Error() != ErrLost.Error() || len(said) != 1 || len(p.questions()) != 1 {
		t.Errorf("said %q, error %v", said, err)
	}
}

func TestClientThatIsInterruptedWhileItWaits(t *testing.T) {
	t.Parallel()
	c := NewClient(perform(t, scene(false, stepLine(3, 0)), "").socket)
	c.Reconnect = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Attempt(ctx, upgrade.KindUpgrade, upgrade.Request{}, func(_ []byte, l Line) {
		if l.Note != "" {
			cancel()
		}
	})
	if !errors.Is(err, ErrLost) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestClientFindsTheSocketOfTheNextSupervisor, which is made anew.
func TestClientFindsTheSocketOfTheNextSupervisor(t *testing.T) {
	t.Parallel()
	stage := newStage()
	path := filepath.Join(t.TempDir(), "control.sock")
	open := func() (*Server, func()) {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(testConfig(t, stage))
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		return s, func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // as if killed
			s.Shutdown(ctx)
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
	_, kill := open()
	c := NewClient(path)
	c.Reconnect = time.Minute
	noted, result := make(chan struct{}, 1), make(chan error)
	go func() {
		report, err := c.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{}, func(_ []byte, l Line) {
			if l.Note != "" {
				noted <- struct{}{}
			}
			if l.Step != nil && l.Step.ElapsedSeconds == 0 {
				go kill()
			}
		})
		if err == nil && report.Request != 1 {
			err = fmt.Errorf("the report is of request %d", report.Request)
		}
		result <- err
	}()
	<-noted
	_, end := open()
	defer end()
	stage.tell(1, 1)
	stage.finish(1)
	if err := <-result; err != nil {
		t.Error(err)
	}
}
