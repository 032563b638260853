package compare

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// The kinds of traffic.
const (
	arriving  = "new connections"
	kept      = "keep-alive"
	slow      = "slow requests"
	streaming = "streams"
)

// kinds are all of them, in the order of the tables.
func kinds() []string { return []string{arriving, kept, slow, streaming} }

// A pace is how much load there is, and how the upgrades follow each other.
type pace struct {
	rate         float64 // new connections per second
	clients      int     // that keep their connections and ask ten times a second
	slow, stream time.Duration
	startUp      time.Duration // of the service
	apart        time.Duration // from one upgrade to the next, at least
	after        time.Duration // from the verdict to the next, at least
	steady       time.Duration // before the first
	watching     time.Duration // what becomes of a bad version, from the last thing that happened to it
}

// full is the pace of the comparison.
func full(rate float64) pace {
	return pace{
		rate: rate, clients: 50, slow: time.Second, stream: 3 * time.Second, startUp: 100 * time.Millisecond,
		apart: 2 * time.Second, after: time.Second, steady: 3 * time.Second, watching: 3 * time.Second,
	}
}

// light is the pace of a trial.
func light() pace {
	return pace{
		rate: 100, clients: 5, slow: 200 * time.Millisecond, stream: 400 * time.Millisecond, startUp: 20 * time.Millisecond,
		apart: 500 * time.Millisecond, after: 300 * time.Millisecond, watching: time.Second,
	}
}

// brief is the pace with shorter streams, for what does not depend on them.
func (p pace) brief() pace {
	p.slow, p.stream = min(p.slow, time.Second/2), min(p.stream, time.Second)
	return p
}

// release is a good version of the service.
func (p pace) release(number int) release {
	return release{Version: fmt.Sprintf("v%d", number), StartUpMS: int(p.startUp / time.Millisecond)}
}

// inFlight is how many slow requests, and how many streams, there are at any time.
const inFlight = 5

func (p pace) traffic() []load.Traffic {
	const payload = 64
	return []load.Traffic{
		{Name: arriving, Pattern: load.NewConnection, Rate: p.rate, Method: http.MethodPost, Path: "/echo", PayloadBytes: payload, Echo: true},
		{Name: kept, Pattern: load.KeepAlive, Clients: p.clients, Rate: 10, Method: http.MethodPost, Path: "/echo", PayloadBytes: payload, Echo: true},
		{Name: slow, Pattern: load.InFlight, Clients: inFlight, Path: fmt.Sprintf("/slow?ms=%d", p.slow.Milliseconds()), Body: "slow\n"},
		{
			Name: streaming, Pattern: load.InFlight, Clients: inFlight, Path: fmt.Sprintf("/stream?ms=%d", p.stream.Milliseconds()),
			Body: strings.Repeat("still here\n", int(p.stream/(100*time.Millisecond))),
		},
	}
}

// send begins the load on a deployment. It ends with ctx at the latest.
func (p pace) send(ctx context.Context, tb testing.TB, d deployment) *load.Run {
	tb.Helper()
	run, err := load.Start(ctx, load.Config{
		Target: "http://" + d.address(), Traffic: p.traffic(), Duration: time.Hour, Dial: d.dial(),
		// Where clients wait for a restart, there are many.
		MaxInFlight: 1 << 16,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { run.Stop() })
	return run
}

// warm waits until the load has gone well for a time, so that nothing is measured
// of its beginning.
func warm(tb testing.TB, run *load.Run, requests uint64) {
	tb.Helper()
	if !poll(limit, func() bool { return run.Snapshot().OK >= requests }) {
		tb.Fatalf("no answers: %+v", run.Snapshot())
	}
}
