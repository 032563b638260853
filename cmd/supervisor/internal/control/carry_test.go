package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// carry brings s to rest and gives what it carries as it goes through JSON.
func carry(t testing.TB, s *Server) []Carried {
	t.Helper()
	carried, err := s.Carry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(carried)
	if err != nil {
		t.Fatal(err)
	}
	var again []Carried
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	for _, c := range again {
		if flags, err := unix.FcntlInt(uintptr(c.Descriptor), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is not close-on-exec: %#x, %v", c.Descriptor, flags, err)
		}
	}
	return again
}

var date = regexp.MustCompile(`Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT\r\n`)

// answerText is what a client sees: steps, and the report of request n.
func answerText(version string, n uint64, steps int) string {
	chunked := version == "1.1"
	text := "HTTP/" + version + " 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n"
	if chunked {
		text += "Transfer-Encoding: chunked\r\n"
	}
	text += "\r\n"
	add := func(l Line) {
		line, _ := json.Marshal(l)
		if chunked {
			text += fmt.Sprintf("%x\r\n%s\n\r\n", len(line)+1, line)
		} else {
			text += string(line) + "\n"
		}
	}
	for i := range steps {
		step := stepOf(n, i)
		add(Line{Step: &step})
	}
	report := reportOf(n)
	add(Line{Report: &report})
	if chunked {
		text += "0\r\n\r\n"
	}
	return text
}

// TestStreamsAreCarriedByteForByte hands streams from server to server, while
// their requests go on, and compares every byte. It is not parallel, so that it
// can count descriptors.
func TestStreamsAreCarriedByteForByte(t *testing.T) {
	const streams, hops = 8, 12
	before := descriptors(t)
	func() {
		stage := newStage()
		house := newTheatre(t, stage)
		server, end := house.open(nil)
		texts := make([]chan string, streams)
		versions := make([]string, streams)
		for i := range streams {
			versions[i] = []string{"1.1", "1.0"}[i%2]
			conn := house.dial()
			fmt.Fprintf(conn, "POST /v1/upgrade HTTP/%s\r\nHost: x\r\nContent-Length: 0\r\n\r\n", versions[i])
			stage.requests(uint64(i + 1))
			texts[i] = make(chan string, 1)
			go func() {
				text, err := io.ReadAll(conn)
				if err != nil {
					t.Error(err)
				}
				conn.Close()
				texts[i] <- string(text)
			}()
		}
		// Each is told a step before every hop, and some during it.
		for hop := range hops {
			var telling sync.WaitGroup
			telling.Go(func() {
				for n := range uint64(streams) {
					stage.tell(n+1, hop+1)
				}
			})
			carried := carry(t, server)
			if len(carried) != streams {
				t.Fatalf("hop %d: %d are carried, want %d: %+v", hop, len(carried), streams, carried)
			}
			next, nextEnd := house.open(nil)
			next.Resume(carried)
			end()
			telling.Wait()
			server, end = next, nextEnd
		}
		for n := range uint64(streams) {
			stage.finish(n + 1)
		}
		for i, text := range texts {
			got := date.ReplaceAllString(<-text, "")
			if want := answerText(versions[i], uint64(i+1), hops+1); got != want {
				t.Errorf("stream %d:\n%q\nwant\n%q", i, got, want)
			}
		}
		end()
		house.socket.Close()
	}()
	deadline := time.After(10 * time.Second)
	for after := descriptors(t); after > before; after = descriptors(t) {
		select {
		case <-time.After(5 * time.Millisecond): // a client closes in the background
		case <-deadline:
			t.Fatalf("%d descriptors are open, %d were before", after, before)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestStreamGoesOnAfterAReplacementThatFailed carries within one server.
func TestStreamGoesOnAfterAReplacementThatFailed(t *testing.T) {
	t.Parallel()
	stage := newStage()
	house := newTheatre(t, stage)
	server, _ := house.open(nil)
	conn := house.dial()
	fmt.Fprint(conn, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	stage.requests(1)
	for i := range 20 {
		carried := carry(t, server)
		if len(carried) != 1 || carried[0].Kind != KindVerdict || carried[0].Request != 1 || !carried[0].Chunked {
			t.Fatalf("carried %+v", carried)
		}
		if err := server.Uncarry(carried); err != nil {
			t.Fatal(err)
		}
		stage.tell(1, i+1)
		if response, _ := ask(t, house.path, "GET", "/v1/version", ""); response.StatusCode != 200 {
			t.Fatal(response.Status)
		}
	}
	stage.finish(1)
	text, err := io.ReadAll(conn)
	if got, want := date.ReplaceAllString(string(text), ""), answerText("1.1", 1, 21); err != nil || got != want {
		t.Errorf("error %v:\n%q\nwant\n%q", err, got, want)
	}
}

// TestNoRequestFailsWhileServersFollowEachOther asks short questions on new
// connections all the while.
func TestNoRequestFailsWhileServersFollowEachOther(t *testing.T) {
	t.Parallel()
	stage := newStage()
	house := newTheatre(t, stage)
	server, _ := house.open(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			client := NewClient(house.path)
			for ctx.Err() == nil {
				if _, err := client.Version(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 15 {
		carried := carry(t, server)
		server, _ = house.open(nil)
		server.Resume(carried)
	}
	cancel()
	asking.Wait()
}

// TestWhoIsSilentOrIdleIsNotWaitedFor closes connections that have nothing
// under way.
func TestWhoIsSilentOrIdleIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	house := newTheatre(t, newStage())
	server, _ := house.open(nil)
	silent, idle := house.dial(), house.dial()
	fmt.Fprint(idle, "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
	reader := bufio.NewReader(idle)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	for len(visitors(server)) < 2 {
		if _, err := NewClient(house.path).Version(t.Context()); err != nil { // time passes
			t.Fatal(err)
		}
	}
	if carried := carry(t, server); len(carried) != 0 {
		t.Errorf("carried %+v", carried)
	}
	for name, r := range map[string]io.Reader{"silent": silent, "idle": reader} {
		if text, err := io.ReadAll(r); err != nil || len(text) > 0 {
			t.Errorf("%s: %q, %v, want its end", name, text, err)
		}
	}
}

// TestWhoCannotBeFinishedPreventsTheReplacement, and everybody else goes on.
func TestWhoCannotBeFinishedPreventsTheReplacement(t *testing.T) {
	t.Parallel()
	stage := newStage()
	stage.fake.block = make(chan struct{})
	house := newTheatre(t, stage)
	server, _ := house.open(nil)
	stream, stop := house.dial(), house.dial()
	fmt.Fprint(stream, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	stage.requests(1)
	fmt.Fprint(stop, "POST /v1/stop HTTP/1.0\r\n\r\n")
	for !slices.Contains(visitors(server), http.StateActive) {
		if _, err := NewClient(house.path).Version(t.Context()); err != nil { // time passes
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if carried, err := server.Carry(ctx); !errors.Is(err, context.DeadlineExceeded) || carried != nil {
		t.Errorf("carried %+v, error %v", carried, err)
	}
	if _, err := NewClient(house.path).Version(t.Context()); err != nil {
		t.Error(err)
	}
	close(stage.fake.block)
	if text, err := io.ReadAll(stop); err != nil || !strings.Contains(string(text), "stopped") {
		t.Errorf("%q, error %v", text, err)
	}
	stage.tell(1, 1)
	stage.finish(1)
	text, err := io.ReadAll(stream)
	if got, want := date.ReplaceAllString(string(text), ""), answerText("1.1", 1, 2); err != nil || got != want {
		t.Errorf("error %v:\n%q\nwant\n%q", err, got, want)
	}
}

// TestCarriedClientThatGoesAwayIsNoticed also in the process that goes on.
func TestCarriedClientThatGoesAwayIsNoticed(t *testing.T) {
	t.Parallel()
	stage := newStage()
	house := newTheatre(t, stage)
	server, end := house.open(nil)
	conn := house.dial()
	fmt.Fprint(conn, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	stage.requests(1)
	carried := carry(t, server)
	stage.gone(1) // the first server does not wait any more
	next, _ := house.open(nil)
	next.Resume(carried)
	end()
	stage.tell(1, 1) // the second one does
	conn.Close()
	stage.gone(2)
}

func TestWatchedQueuesAreCarried(t *testing.T) {
	t.Parallel()
	house := newTheatre(t, newStage())
	o := new(observer)
	watched := func(c *ServerConfig) {
		c.Queue = &queue.View{Service: "web", Listeners: func() []upgrade.ListenerStatus { return []upgrade.ListenerStatus{{Name: "http"}} }, Source: o}
	}
	server, end := house.open(watched)
	lines := make(chan queue.Snapshot)
	ended := make(chan error, 1)
	go func() {
		ended <- NewClient(house.path).WatchQueue(t.Context(), 10*time.Millisecond, func(_ []byte, s queue.Snapshot) error {
			lines <- s
			return nil
		})
	}()
	for range 3 {
		<-lines
		carried := make(chan []Carried)
		go func() { carried <- carry(t, server) }()
		for waiting := true; waiting; {
			select {
			case <-lines: // some are under way
			case c := <-carried:
				if len(c) != 1 || c[0].Kind != KindQueue || c[0].Interval != 10*time.Millisecond {
					t.Errorf("carried %+v", c)
				}
				next, nextEnd := house.open(watched)
				next.Resume(c)
				end()
				server, end, waiting = next, nextEnd, false
			}
		}
	}
	<-lines
	go func() {
		for range lines { // the last ones
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	server.Shutdown(ctx)
	if err := <-ended; err != nil {
		t.Errorf("the stream did not end properly: %v", err)
	}
	close(lines)
	o.none(t)
}

func TestDescriptorsThatAreNoConnections(t *testing.T) {
	t.Parallel()
	house := newTheatre(t, newStage())
	server, _ := house.open(nil)
	file, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	server.Resume([]Carried{
		{Kind: KindVerdict, Descriptor: -1, Request: 1},
		{Kind: KindVerdict, Descriptor: file, Request: 1},
		{Kind: "of tomorrow", Descriptor: pair[0]},
	})
	other := os.NewFile(uintptr(pair[1]), "other")
	defer other.Close()
	if text, err := io.ReadAll(other); err != nil || len(text) > 0 {
		t.Errorf("%q, %v, want the end of a stream of an unknown kind", text, err)
	}
}

func TestCarryBeforeServe(t *testing.T) {
	t.Parallel()
	s := NewServer(testConfig(t, newStage()))
	if _, err := s.Carry(t.Context()); err == nil || !strings.Contains(err.Error(), "does not serve yet") {
		t.Errorf("error %v", err)
	}
}

func TestListenerThatCannotBeShutIsRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", t.TempDir()+"/x.sock")
	if err != nil {
		t.Fatal(err)
	}
	err = NewServer(testConfig(t, newStage())).Serve(struct{ net.Listener }{l})
	if err == nil || !strings.Contains(err.Error(), "cannot be shut") {
		t.Errorf("error %v", err)
	}
}
