// Package demo shows the main promise on the machine at hand: it runs a
// supervisor with an example service, sends it traffic, upgrades it again and
// again, offers it versions that are bad, and judges what came of it.
//
// It guarantees that its word can be trusted: every request that was due is
// counted, none is retried, and the run is good only if all were answered as
// expected, every verdict is the one that the version deserves, and no process
// and no file is left. It is deliberately no benchmark: the clients share the
// machine with the service.
package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Config says how to run the demo. Default has values for all but Executable.
type Config struct {
	// Rate is the number of new connections per second. Keep-alive clients
	// send half as many requests besides.
	Rate int
	// Duration is how long requests are sent, at least: a run takes longer if
	// its upgrades do.
	Duration time.Duration
	// Upgrades is the number of upgrades that are to be committed. Three bad
	// versions are offered besides.
	Upgrades int
	// Bake is how long the supervisor watches each new generation.
	Bake time.Duration
	// LoseEvery makes the service close every so manieth connection of /echo
	// without an answer, to see that the demo notices. 0: none.
	LoseEvery int
	// Executable is the path of the program whose commands RunCommand and
	// ServiceCommand are.
	Executable string
	// Log takes the output of the supervisor and its generations; it is
	// borrowed. Nil: a file in memory.
	Log *os.File
	// Progress is told what happens while it happens; nil for nothing.
	Progress io.Writer
}

// The commands of Config.Executable that the demo uses.
const (
	// RunCommand is "supervisor run" on a leash; see HoldLeash.
	RunCommand = "demo-run"
	// ServiceCommand is the example service; see Serve.
	ServiceCommand = "demo-service"
)

const (
	// serviceName is the service's name, listenerName its only listener's.
	serviceName  = "demo"
	listenerName = "http"
	// drainTimeout is far longer than the longest request.
	drainTimeout = 15 * time.Second
	// stopGrace is how long a process may take to end on request.
	stopGrace = 3 * time.Second
)

// Limits of Config.
const (
	// minRate and minBake let some clients connect during a bake: a version
	// that stalls while nobody does is as good as any.
	minRate     = 20
	maxRate     = 20_000
	maxUpgrades = 1_000
	minBake     = 300 * time.Millisecond
	maxBake     = 10 * time.Second
	minDuration = time.Second
	maxDuration = 24 * time.Hour
)

// Default is a run that takes about twenty seconds. The bake is short for a
// service, but long enough for a busy machine to notice a version that is sick or
// stalls.
func Default() Config {
	return Config{Rate: 1000, Duration: 18 * time.Second, Upgrades: 8, Bake: 500 * time.Millisecond}
}

// Validate names the first field that cannot be used, as its flag.
func (c Config) Validate() error {
	switch {
	case c.Rate < minRate || c.Rate > maxRate:
		return fmt.Errorf("--rate: %d is not from %d to %d new connections per second", c.Rate, minRate, maxRate)
	case c.Duration < minDuration || c.Duration > maxDuration:
		return fmt.Errorf("--duration: %v is not from %v to %v", c.Duration, minDuration, maxDuration)
	case c.Upgrades < 1 || c.Upgrades > maxUpgrades:
		return fmt.Errorf("--upgrades: %d is not from 1 to %d", c.Upgrades, maxUpgrades)
	case c.Bake < minBake || c.Bake > maxBake:
		return fmt.Errorf("--bake: %v is not from %v to %v", c.Bake, minBake, maxBake)
	case c.LoseEvery < 0:
		return fmt.Errorf("--lose-every: %d is negative", c.LoseEvery)
	case c.Executable == "":
		return errors.New("executable: empty")
	}
	return nil
}
