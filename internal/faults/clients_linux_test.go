package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

const (
	// longWait is from where on a request counts as one that the fault held up.
	longWait = 100 * time.Millisecond
	// clientPatience is how long a client waits for its answer.
	clientPatience = 20 * time.Second
	// gapLimit is for how long a listener may be shut: the supervisor looks every
	// five seconds at the latest.
	gapLimit = 6 * time.Second
)

// clients are the traffic of a scene, with what became of each of its connections.
type clients struct {
	run  *load.Run
	slow time.Duration // that a slow request takes by itself

	mu     sync.Mutex
	broken []int // ports of connections that ended, or fell silent, without an answer
}

// startClients sends some 140 requests a second until stop: on connections of their
// own, on kept ones, which send no request twice, and slow ones.
func startClients(tb testing.TB, address string, slow time.Duration) *clients {
	tb.Helper()
	c := &clients{slow: slow}
	var err error
	c.run, err = load.Start(context.WithoutCancel(tb.Context()), load.Config{
		Target: "http://" + address, Duration: 10 * time.Minute, Timeout: clientPatience, Dial: c.dial,
		Traffic: []load.Traffic{
			{Name: "new", Pattern: load.NewConnection, Rate: 110, Path: "/echo", PayloadBytes: 64, Echo: true},
			{Name: "kept", Pattern: load.KeepAlive, Clients: 3, Rate: 8, Path: "/echo", PayloadBytes: 64, Echo: true},
			{Name: "slow", Pattern: load.InFlight, Clients: 3, Path: fmt.Sprintf("/slow?ms=%d", slow.Milliseconds())},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.run.Stop() })
	return c
}

func (c *clients) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &watchedConn{TCPConn: conn.(*net.TCPConn), clients: c}, nil
}

// A watchedConn notes if it is asked for an answer in vain. It is used by one
// goroutine at a time.
type watchedConn struct {
	*net.TCPConn
	clients *clients
	asked   bool // and nothing was answered yet
}

func (w *watchedConn) Write(p []byte) (int, error) {
	w.asked = true
	n, err := w.TCPConn.Write(p)
	if err != nil {
		w.breaks()
	}
	return n, err
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.TCPConn.Read(p)
	if n > 0 {
		w.asked = false
	}
	if err != nil && w.asked {
		w.breaks()
	}
	return n, err
}

func (w *watchedConn) breaks() {
	w.asked = false
	w.clients.mu.Lock()
	defer w.clients.mu.Unlock()
	w.clients.broken = append(w.clients.broken, w.LocalAddr().(*net.TCPAddr).Port)
}

// answered waits until so many more requests have been answered.
func (c *clients) answered(tb testing.TB, more uint64) bool {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(clientPatience)
	for want := c.run.Snapshot().OK + more; c.run.Snapshot().OK < want; {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}

// waited is how much longer a request took than by itself.
func (c *clients) waited(o load.Outcome) time.Duration {
	if o.Traffic == "slow" {
		return o.Latency - c.slow
	}
	return o.Latency
}

// account stops the traffic and puts what became of it into o; injected is when the
// fault fell, and well when all seemed to be well again.
func (c *clients) account(o *observation, injected, well time.Time) {
	r := c.run.Stop()
	o.requests, o.failed = r.Requests, r.Failed
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.FailedByKind)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", r.FailedByKind[kind], kind))
	}
	o.kinds = strings.Join(kinds, ", ")
	for outcome := range c.run.Outcomes() {
		waited := c.waited(outcome)
		o.slowest = max(o.slowest, waited)
		if shut := outcome.Ended(); (outcome.Failure == load.Refused || outcome.Failure == load.Reset) &&
			shut.After(injected) && shut.Before(injected.Add(gapLimit)) {
			o.gap++
		}
		hit := outcome.Failure != "" || waited > longWait
		if hit && outcome.Due.Before(well) && outcome.Ended().After(injected) {
			o.clients = max(o.clients, outcome.Ended().Sub(injected))
		}
	}
}

// attribute counts the connections that broke and that the process had accepted
// which kept that journal. Where it was fatal to it, one more may be its own: it was
// accepted, and the process ended before it was noted. (Connections that nobody has
// accepted do not break when a process ends.)
func (c *clients) attribute(o *observation, journal string, fatal bool) error {
	text, err := os.ReadFile(journal)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	accepted := map[int]bool{}
	for line := range bytes.Lines(text) {
		var port int
		if _, err := fmt.Sscan(string(line), &port); err == nil || errors.Is(err, io.EOF) {
			accepted[port] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, port := range c.broken {
		if accepted[port] {
			o.own++
		} else if fatal {
			o.unnoted = 1
		}
	}
	return nil
}
