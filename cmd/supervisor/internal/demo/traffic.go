package demo

import (
	"fmt"
	"time"

	"example.com/supervisor/internal/load"
)

const (
	// echoBytes is the size of what is posted to /echo.
	echoBytes = 128
	// slowClients and streamClients are how many slow requests and streams are
	// in flight at any time.
	slowClients   = 8
	streamClients = 2
	// streamLine is the length of one line of a stream, streamEvery the time
	// between two.
	streamLine  = 64
	streamEvery = 50 * time.Millisecond
)

// slowFor is how long a slow request takes, streamFor a stream: long enough to
// be in flight during an upgrade or several.
func (c Config) slowFor() time.Duration {
	return min(time.Second, c.Duration/8).Round(time.Millisecond)
}

func (c Config) streamFor() time.Duration {
	return max(streamEvery, min(3*time.Second, c.Duration/4).Round(streamEvery))
}

// keepAlive is how many clients keep their connections, and how many requests
// each of them sends per second.
func (c Config) keepAlive() (clients int, rate float64) {
	clients = min(max(c.Rate/20, 2), 50)
	return clients, float64(c.Rate) / 2 / float64(clients)
}

// afterUpgrade is how long after the request for an upgrade a client's request
// counts as influenced by it: a second, or more where the bake is long, so that
// the commit and the beginning of the drain are always within.
func (c Config) afterUpgrade() time.Duration {
	return max(time.Second, c.Bake+500*time.Millisecond)
}

// load is the traffic to the service at address. None of it is idempotent, so
// that nothing may be sent again.
func (c Config) load(address string) load.Config {
	clients, rate := c.keepAlive()
	return load.Config{
		Target:     "http://" + address,
		Duration:   maxDuration, // it is stopped
		AfterEvent: c.afterUpgrade(),
		Traffic: []load.Traffic{
			{Name: "new connections", Pattern: load.NewConnection, Rate: float64(c.Rate), Path: "/echo", PayloadBytes: echoBytes, Echo: true},
			{Name: "keep-alive", Pattern: load.KeepAlive, Clients: clients, Rate: rate, Path: "/echo", PayloadBytes: echoBytes, Echo: true},
			{Name: "slow requests", Pattern: load.InFlight, Clients: slowClients, Method: "POST", Path: fmt.Sprintf("/slow?for=%v", c.slowFor()), Body: slowBody},
			{Name: "streams", Pattern: load.InFlight, Clients: streamClients, Method: "POST", Path: fmt.Sprintf("/stream?for=%v", c.streamFor()),
				BodyBytes: int64(c.streamFor()/streamEvery) * streamLine},
		},
	}
}
