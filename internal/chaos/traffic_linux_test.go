package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// traffic is all the clients: those of a load, who come all the time, and slow ones
// that a script sends.
type traffic struct {
	target string
	run    *load.Run
	known  uint64 // failures of run that were looked at
	slow   sync.WaitGroup

	mu   sync.Mutex
	late []load.Outcome // of slow clients
}

// clientTimeout is longer than anything that a supervisor may take.
const clientTimeout = 20 * time.Second

// begin begins the load.
func begin(t testing.TB, target string) *traffic {
	t.Helper()
	run, err := load.Start(context.WithoutCancel(t.Context()), load.Config{
		Target: "http://" + target, Duration: 3 * time.Hour, Timeout: clientTimeout, Traffic: []load.Traffic{
			{Pattern: load.NewConnection, Rate: 100},
			{Pattern: load.KeepAlive, Clients: 5, Rate: 15, Path: "/echo", PayloadBytes: 300, Echo: true},
			{Name: "slow", Pattern: load.NewConnection, Rate: 15, Path: "/slow?ms=200"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop() })
	return &traffic{target: target, run: run}
}

// failures are all requests that have failed so far, and whether there are new ones.
func (tr *traffic) failures() (all []load.Outcome, news bool) {
	tr.slow.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	all = slices.Clone(tr.late)
	failed := tr.run.Snapshot().Failed
	if failed == tr.known && len(all) == 0 {
		return nil, false
	}
	tr.known = failed
	for o := range tr.run.Outcomes() {
		if o.Failure != "" {
			all = append(all, o)
		}
	}
	return all, true
}

// sendSlow sends clients that take that long to say what they want, each a little
// longer than the one before.
func (tr *traffic) sendSlow(clients int, takes time.Duration) {
	for i := range clients {
		tr.slow.Go(func() { // joined by failures
			o := load.Outcome{Traffic: "slow client", Due: time.Now()}
			err := dawdle(tr.target, takes*time.Duration(i+1)/time.Duration(clients))
			o.Latency, o.Failure = time.Since(o.Due), failureOf(err)
			if err != nil {
				tr.mu.Lock()
				defer tr.mu.Unlock()
				tr.late = append(tr.late, o)
			}
		})
	}
}

// dawdle sends one request piece by piece and expects it back.
func dawdle(target string, takes time.Duration) error {
	conn, err := net.DialTimeout("tcp", target, clientTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(clientTimeout))
	const body = "a word of a slow client"
	text := fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	const pieces = 8
	for i := range pieces {
		if _, err := io.WriteString(conn, text[len(text)*i/pieces:len(text)*(i+1)/pieces]); err != nil {
			return err
		}
		<-time.After(takes / pieces)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || string(got) != body) {
		err = errWrong
	}
	return err
}

var errWrong = errors.New("another answer than was asked for")

// failureOf finds the kind of an error, as package load does.
func failureOf(err error) load.FailureKind {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errWrong):
		return load.Body
	case errors.Is(err, os.ErrDeadlineExceeded):
		return load.Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return load.Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return load.Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return load.EOF
	}
	return load.Other
}
