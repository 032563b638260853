package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// observer is a queue.Source with one listener.
type observer struct {
	mu      sync.Mutex
	depth   uint32
	tallies int // that are not closed
}

func (o *observer) Figures() []health.Figures {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.depth++
	return []health.Figures{{Name: "http", DropsKnown: true, Observation: health.Observation{Sample: health.Sample{Depth: o.depth, Limit: 4096, Listening: true}}}}
}

func (o *observer) Tally() queue.Tally {
	o.count(1)
	return o
}

func (o *observer) Take() []queue.Extremes { return []queue.Extremes{{Listener: "http", MaxDepth: 99}} }
func (o *observer) Close()                 { o.count(-1) }

func (o *observer) Counters() (health.Counters, bool) {
	return health.Counters{ListenDrops: 3}, true
}

func (o *observer) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tallies += n
}

// none waits until nobody watches.
func (o *observer) none(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		left := o.tallies
		o.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d tallies are left", left)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// serveQueue answers with o's figures, and returns the server and its socket.
func serveQueue(t *testing.T, o *observer) (*Server, string) {
	f := &fake{status: running()}
	return serveConfig(t, f, func(c *ServerConfig) {
		c.Queue = &queue.View{Service: "web", Listeners: shown, Source: o}
	})
}

func TestQueueTellsOnce(t *testing.T) {
	t.Parallel()
	o := new(observer)
	_, socket := serveQueue(t, o)
	got, err := NewClient(socket).Queue(t.Context())
	if err != nil || got.Service != "web" || len(got.Listeners) != 1 || *got.Listeners[0].Depth != 1 || got.Namespace.ListenDrops != 3 {
		t.Errorf("%+v, error %v", got, err)
	}
	if l := got.Listeners[0]; l.MaxDepth != nil || l.Drops == nil || l.OldestSeconds != nil {
		t.Errorf("%+v", l)
	}
	o.none(t)
}

func TestQueueRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	_, socket := serveQueue(t, new(observer))
	without := serve(t, &fake{status: running()})
	for _, c := range []struct {
		socket, method, path string
		status               int
		want                 string
	}{
		{socket, "POST", "/v1/queue", 405, "does not answer POST"},
		{socket, "GET", "/v1/queue?watch=soon", 400, `watch: \"soon\" is not a duration such as 5s`},
		{socket, "GET", "/v1/queue?watch=9ms", 400, "watch: must be from 10ms to 1h0m0s: 9ms"},
		{socket, "GET", "/v1/queue?watch=-1s", 400, "watch: must be from"},
		{socket, "GET", "/v1/queue?watch=2h", 400, "watch: must be from"},
		{socket, "GET", "/v1/queue?watch=1s&watch=2s", 400, "watch: is given twice"},
		{socket, "GET", "/v1/queue?interval=1s", 400, `unknown parameter \"interval\"; known is watch`},
		{socket, "GET", "/v1/queue?a;b", 400, "cannot read the query"},
		{without, "GET", "/v1/queue", 503, "this supervisor does not look at its accept queues"},
		{without, "GET", "/v1/queue?watch", 503, "does not look at"},
	} {
		if response, body := ask(t, c.socket, c.method, c.path, ""); response.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %s %s, want %d with %q", c.method, c.path, response.Status, body, c.status, c.want)
		}
	}
}

func TestWatchGoesOnUntilTheClientLeaves(t *testing.T) {
	t.Parallel()
	o := new(observer)
	_, socket := serveQueue(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	var depths []uint32
	err := NewClient(socket).WatchQueue(ctx, queue.MinInterval, func(raw []byte, s queue.Snapshot) error {
		if !json.Valid(raw) || len(depths) > 0 && *s.Listeners[0].MaxDepth != 99 {
			t.Errorf("%s", raw)
		}
		if depths = append(depths, *s.Listeners[0].Depth); len(depths) == 5 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(depths) < 5 || depths[4] != 5 {
		t.Errorf("depths %v, error %v", depths, err)
	}
	o.none(t)
}

func TestWatchEndsWhenItsReaderWantsNoMore(t *testing.T) {
	t.Parallel()
	o, enough := new(observer), errors.New("enough")
	_, socket := serveQueue(t, o)
	err := NewClient(socket).WatchQueue(t.Context(), queue.MinInterval, func([]byte, queue.Snapshot) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("error %v, want %v", err, enough)
	}
	o.none(t)
}

func TestWatchEndsWithTheSupervisor(t *testing.T) {
	t.Parallel()
	o := new(observer)
	s, socket := serveQueue(t, o)
	seen, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- NewClient(socket).WatchQueue(t.Context(), time.Hour, func([]byte, queue.Snapshot) error {
			seen <- struct{}{}
			return nil
		})
	}()
	<-seen
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s.Shutdown(ctx)
	if ctx.Err() != nil {
		t.Error("a watch kept the server from ending")
	}
	if err := <-ended; err != nil {
		t.Errorf("error %v, want none: that is how a watch ends", err)
	}
	o.none(t)
}

func TestWatchOfALostSupervisor(t *testing.T) {
	t.Parallel()
	ignore := func([]byte, queue.Snapshot) error { return nil }
	const header = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct{ answer, want string }{
		"closes at once":     {"", "ended the connection"},
		"closes in a line":   {header + "5\r\n{\"tim", "the supervisor was lost"},
		"closes after lines": {header + "3\r\n{}\n\r\n", "the supervisor was lost"},
		"is not JSON":        {header + "6\r\nhello\n\r\n0\r\n\r\n", "cannot understand the supervisor's answer to /v1/queue"},
	} {
		err := NewClient(answerOnce(t, c.answer)).WatchQueue(t.Context(), time.Second, ignore)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestOnlySoManyMayWatch(t *testing.T) {
	t.Parallel()
	o := new(observer)
	_, socket := serveQueue(t, o)
	var watching []net.Conn
	for range maxWatchers {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		watching = append(watching, conn)
		if _, err := conn.Write([]byte("GET /v1/queue?watch=1h HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != 200 {
			t.Fatalf("%v %v", answer, err)
		}
	}
	if response, body := ask(t, socket, "GET", "/v1/queue?watch=1s", ""); response.StatusCode != 429 || !strings.Contains(body, "16 clients watch the queues already") {
		t.Errorf("%s %s, want 429", response.Status, body)
	}
	if response, _ := ask(t, socket, "GET", "/v1/queue", ""); response.StatusCode != 200 {
		t.Errorf("one who does not watch: %s", response.Status)
	}
	for _, conn := range watching {
		conn.Close()
	}
	o.none(t)
}

func shown() []upgrade.ListenerStatus {
	return []upgrade.ListenerStatus{{Name: "http", Network: "tcp4", Address: "127.0.0.1:80"}}
}
