// Failing is an HTTP service that fails when and as it is ordered to, for the fault
// matrix. Of generation N,
//
//	order.N     is a Unix socket that takes orders, one in a line: see order
//	accepted.N  has the ports of all clients that it accepted
//	hold.ready.N and hold.probe.N, if they are there, have it wait with its ready,
//	            and with its answer to probes, until it is ordered to go on
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"example.com/supervisor/service"
	"example.com/supervisor/upgrade"
)

// idleTime is for how long a service that drains keeps idle connections: longer than
// a client that is not idle is silent on a busy machine.
const idleTime = 1500 * time.Millisecond

// A body is one generation of the service.
type body struct {
	dir        string
	generation int
	accepted   *os.File // the journal of what it accepts
	relay      *relay
	service    *service.Service
	joined     chan struct{} // closed once service is set

	// Where it waits, if it was told to: before it says ready, and before it answers
	// a probe.
	ready, probe station
	hanging      freeze // all that it does
	handling     freeze // its handlers

	begun sync.Once // of what is done once
	stop  sync.Once
}

func main() {
	dir := flag.String("dir", ".", "`folder` in which it takes orders")
	flag.Parse()
	if err := run(*dir); err != nil {
		log.Fatalf("error: %v", err)
	}
}

// run is a generation's life.
func run(dir string) (err error) {
	b := &body{dir: dir, joined: make(chan struct{})}
	if b.generation, err = strconv.Atoi(os.Getenv(upgrade.EnvGeneration)); err != nil {
		return err
	}
	for name, s := range map[string]*station{"ready": &b.ready, "probe": &b.probe} {
		if _, err := os.Stat(b.file("hold." + name)); err == nil {
			s.hold()
		}
	}
	b.accepted, err = os.OpenFile(b.file("accepted"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if b.relay, err = between(&b.hanging); err != nil {
		return err
	}
	if err := b.takeOrders(); err != nil {
		return err
	}
	b.service, err = service.Join(service.Config{
		Listen: []string{"http=tcp://127.0.0.1:0"}, IdleTimeout: idleTime, DrainTimeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	close(b.joined)
	b.service.HandleHealth(http.HandlerFunc(b.health))
	server := &http.Server{Handler: http.HandlerFunc(b.handle), ConnContext: b.note}
	if err := b.service.ServeHTTP("http", server); err != nil {
		return err
	}
	b.ready.pass()
	return b.service.Run(context.Background())
}

// file is the path of a file of this generation.
func (b *body) file(name string) string {
	return filepath.Join(b.dir, fmt.Sprintf("%s.%d", name, b.generation))
}

// note writes down who is accepted, before anything is said to him; the server's
// accept loop waits for it.
func (b *body) note(ctx context.Context, c net.Conn) context.Context {
	if from, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		_, _ = fmt.Fprintf(b.accepted, "%d\n", from.Port) // with O_APPEND, whole or not at all
	}
	b.hanging.wait()
	return ctx
}

func (b *body) health(w http.ResponseWriter, _ *http.Request) {
	b.probe.pass()
	b.hanging.wait()
	fmt.Fprintln(w, "well")
}

// handle answers POST /echo with the body, and GET /slow?ms=N after so many
// milliseconds.
func (b *body) handle(w http.ResponseWriter, r *http.Request) {
	b.stuck()
	w.Header().Set("X-Generation", strconv.Itoa(b.generation))
	switch r.URL.Path {
	case "/echo":
		text, err := io.ReadAll(r.Body)
		b.stuck()
		if err == nil {
			_, _ = w.Write(text)
		}
	case "/slow":
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		<-time.After(time.Duration(ms) * time.Millisecond)
		b.stuck()
		fmt.Fprintln(w, "slow")
	default:
		fmt.Fprintln(w, "generation", b.generation)
	}
}

func (b *body) stuck() {
	b.hanging.wait()
	b.handling.wait()
}

// A freeze holds whoever comes once it has begun, until it ends. Its zero value has
// not begun.
type freeze struct {
	mu   sync.Mutex
	over chan struct{} // nil: nobody is held
}

func (f *freeze) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == nil {
		f.over = make(chan struct{})
	}
}

func (f *freeze) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over != nil {
		close(f.over)
		f.over = nil
	}
}

func (f *freeze) wait() {
	f.mu.Lock()
	over := f.over
	f.mu.Unlock()
	if over != nil {
		<-over
	}
}

// A station is a freeze that tells when somebody is held.
type station struct {
	freeze
	once    sync.Once
	reached chan struct{}
	see     sync.Once
}

// arrived is closed when somebody has come to the station while it held.
func (s *station) arrived() chan struct{} {
	s.see.Do(func() { s.reached = make(chan struct{}) })
	return s.reached
}

func (s *station) hold() { s.begin() }

func (s *station) pass() {
	s.mu.Lock()
	holds := s.over != nil
	s.mu.Unlock()
	if holds {
		s.once.Do(func() { close(s.arrived()) })
	}
	s.wait()
}
