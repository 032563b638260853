package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplacementIsAnsweredByTheNewServer has the old one give what it carries
// to a new one, and never come back.
func TestReplacementIsAnsweredByTheNewServer(t *testing.T) {
	t.Parallel()
	house := newTheatre(t, newStage())
	var server *Server
	asked, answered := make(chan string, 1), make(chan struct{})
	var next *Server
	server, end := house.open(func(c *ServerConfig) {
		c.Reexec = func(ctx context.Context, binary string) error {
			asked <- binary
			carried, err := server.Carry(ctx)
			if err != nil || len(carried) != 1 || carried[0].Kind != KindReexec {
				t.Errorf("carried %+v, error %v", carried, err)
			}
			text, err := json.Marshal(carried)
			if err != nil {
				t.Error(err)
			}
			var again []Carried
			if err := json.Unmarshal(text, &again); err != nil {
				t.Error(err)
			}
			next, _ = house.open(func(c *ServerConfig) { c.Version.Version = "v2" })
			next.Resume(again)
			<-answered // as if executed
			return errors.New("too late to be told")
		}
	})
	done, err := NewClient(house.path).Reexec(t.Context(), "/new/supervisor")
	close(answered)
	if err != nil || done.From.Version != "v1" || done.To.Version != "v2" || done.To.PID != 7 || done.Seconds <= 0 || done.Seconds > 10 {
		t.Errorf("%+v, error %v", done, err)
	}
	if binary := <-asked; binary != "/new/supervisor" {
		t.Errorf("asked for %q", binary)
	}
	end()
	if v, err := NewClient(house.path).Version(t.Context()); err != nil || v.Version != "v2" {
		t.Errorf("%+v, error %v", v, err)
	}
}

// TestRefusedReplacementIsTold also where streams had been carried already.
func TestRefusedReplacementIsTold(t *testing.T) {
	t.Parallel()
	for name, carries := range map[string]bool{"at once": false, "late": true} {
		stage := newStage()
		house := newTheatre(t, stage)
		var server *Server
		server, _ = house.open(func(c *ServerConfig) {
			c.Reexec = func(ctx context.Context, _ string) error {
				if carries {
					carried, err := server.Carry(ctx)
					if err != nil || len(carried) != 2 {
						t.Errorf("carried %+v, error %v", carried, err)
					}
					if err := server.Uncarry(carried); err != nil {
						t.Error(err)
					}
				}
				return errors.New("upgrade 4 is running (bake)")
			}
		})
		stream := house.dial()
		fmt.Fprint(stream, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		stage.requests(1)
		response, body := ask(t, house.path, "POST", "/v1/reexec", "")
		if response.StatusCode != 409 || body != `{"error":"upgrade 4 is running (bake)"}`+"\n" || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %v %s", name, response.Status, response.Header, body)
		}
		var refused *RefusedError
		if _, err := NewClient(house.path).Reexec(t.Context(), ""); !errors.As(err, &refused) || refused.Status != 409 {
			t.Errorf("%s: error %v", name, err)
		}
		stage.tell(1, 1)
		stage.finish(1)
		text, err := io.ReadAll(stream)
		if got, want := date.ReplaceAllString(string(text), ""), answerText("1.1", 1, 2); err != nil || got != want {
			t.Errorf("%s: error %v:\n%q\nwant\n%q", name, err, got, want)
		}
	}
}

func TestOneReplacementAtATime(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	_, socket := serveConfig(t, &fake{}, func(c *ServerConfig) {
		c.Reexec = func(context.Context, string) error {
			close(begun)
			<-goOn
			return errors.New("the first one")
		}
	})
	first := make(chan error)
	go func() {
		_, err := NewClient(socket).Reexec(t.Context(), "")
		first <- err
	}()
	<-begun
	if _, err := NewClient(socket).Reexec(t.Context(), ""); err == nil || err.Error() != "the supervisor is being replaced already" {
		t.Errorf("error %v", err)
	}
	close(goOn)
	if err := <-first; err == nil || err.Error() != "the first one" {
		t.Errorf("error %v", err)
	}
}

func TestReplacementsThatAreNotUnderstood(t *testing.T) {
	t.Parallel()
	_, socket := serveConfig(t, &fake{}, func(c *ServerConfig) {
		c.Reexec = func(context.Context, string) error {
			t.Error("was asked")
			return errors.New("was asked")
		}
	})
	for body, want := range map[string]string{
		`{"binary":"supervisor"}`:                         "is a relative path; give an absolute one",
		`{"binary":"./supervisor"}`:                       "is a relative path",
		`{"binary":"/a\u0000b"}`:                          "contains a NUL byte",
		`{"binary":"/` + strings.Repeat("x", 4095) + `"}`: "has 4096 bytes, more than 4095",
		`{"binary":1}`:                                    "cannot read the request",
		`{"program":"/a"}`:                                "unknown field",
		`[]`:                                              "it is not a JSON object",
		`{"binary":"/` + strings.Repeat("x", maxBody-20) + `"}`: "more than 4095",
	} {
		if response, text := ask(t, socket, "POST", "/v1/reexec", body); response.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%.60s: %s %.100s, want 400 with %q", body, response.Status, text, want)
		}
	}
	if response, _ := ask(t, socket, "GET", "/v1/reexec", ""); response.StatusCode != 405 {
		t.Errorf("%s, want 405", response.Status)
	}
	if response, text := ask(t, serve(t, &fake{}), "POST", "/v1/reexec", ""); response.StatusCode != 409 || !strings.Contains(text, "cannot be replaced in place") {
		t.Errorf("%s %s, want 409", response.Status, text)
	}
}

// TestSupervisorThatIsLostWhileItIsReplaced cannot say whether it was.
func TestSupervisorThatIsLostWhileItIsReplaced(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"closes at once":    "",
		"closes in a line":  "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"reexec\":{\"fr",
		"says another word": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n",
	} {
		if _, err := NewClient(answerOnce(t, answer)).Reexec(t.Context(), ""); !errors.Is(err, ErrLost) {
			t.Errorf("%s: error %v, want %v", name, err, ErrLost)
		}
	}
}

func FuzzDecodeReexec(f *testing.F) {
	for _, body := range []string{"", "{}", `{"binary":"/a/b"}`, `{"binary":""}`, `{"binary":"a"}`, `{} {}`, `null`, `{"binary":"/\u0000"}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReexec(strings.NewReader(string(body)))
		if err != nil {
			return
		}
		if r.Binary != "" && !filepath.IsAbs(r.Binary) || strings.ContainsRune(r.Binary, 0) || len(r.Binary) > maxPath {
			t.Errorf("%s was accepted as %+v", body, r)
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeReexec(strings.NewReader(string(encoded))); err != nil || again != r {
			t.Errorf("%s: %+v became %+v, %v", body, r, again, err)
		}
	})
}
