package demo

import (
	"fmt"
	"strconv"
	"time"

	"example.com/supervisor/upgrade"
)

// An offer is a version that the supervisor is asked to upgrade to.
type offer struct {
	number  int
	version string
	fault   Fault
	// at is when, from the start of the traffic.
	at time.Duration
}

// expected is the verdict that the version deserves.
func (o offer) expected() upgrade.Verdict {
	switch o.fault {
	case Crash:
		return upgrade.Aborted
	case Sick, Stall:
		return upgrade.RolledBack
	}
	return upgrade.Committed
}

// String describes the version in a few words.
func (o offer) String() string {
	switch o.fault {
	case Crash:
		return o.version + ", crashes at start"
	case Sick:
		return o.version + ", turns unhealthy"
	case Stall:
		return o.version + ", stops accepting"
	}
	return o.version
}

// args are the version's words on the command line.
func (c Config) args(version string, f Fault) []string {
	args := []string{c.Executable, ServiceCommand, "--version-name", version}
	if f != Sound {
		args = append(args, "--fault", string(f))
	}
	if c.LoseEvery > 0 {
		args = append(args, "--lose-every", strconv.Itoa(c.LoseEvery))
	}
	return args
}

// firstVersion is what runs before the first offer.
const firstVersion = "v1"

// badVersions are offered besides those that are to be committed.
const badVersions = 3

// plan spreads the offers over the duration: first some time without any, to
// compare with, and some at the end, to see the last one's effect. The bad
// ones come after about a quarter, a half and three quarters; the last one is
// sound.
func (c Config) plan() []offer {
	n := c.Upgrades + badVersions
	margin := min(1500*time.Millisecond, c.Duration/6)
	spacing := (c.Duration - 2*margin) / time.Duration(n)
	offers := make([]offer, 0, n)
	for i := range n {
		fault := Sound
		switch i {
		case c.Upgrades / 4:
			fault = Crash
		case c.Upgrades/2 + 1:
			fault = Sick
		case c.Upgrades*3/4 + 2:
			fault = Stall
		}
		offers = append(offers, offer{
			number: i + 1, version: fmt.Sprintf("v%d", i+2), fault: fault,
			at: margin + time.Duration(i)*spacing,
		})
	}
	return offers
}
