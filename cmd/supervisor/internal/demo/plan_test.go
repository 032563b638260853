package demo

import (
	"strings"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

func TestPlanHasOneVersionOfEachFaultAndEndsWithASoundOne(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 60; n++ {
		c := Config{Upgrades: n, Duration: 16 * time.Second}
		verdicts, faults := map[upgrade.Verdict]int{}, map[Fault]int{}
		last := offer{at: -1}
		for _, o := range c.plan() {
			verdicts[o.expected()]++
			faults[o.fault]++
			if o.at < last.at || o.at > c.Duration {
				t.Errorf("%d upgrades: %v at %v, after %v", n, o, o.at, last.at)
			}
			last = o
		}
		if verdicts[upgrade.Aborted] != 1 || verdicts[upgrade.RolledBack] != 2 || verdicts[upgrade.Committed] != n {
			t.Errorf("%d upgrades: %v", n, verdicts)
		}
		if faults[Crash] != 1 || faults[Sick] != 1 || faults[Stall] != 1 {
			t.Errorf("%d upgrades: %v", n, faults)
		}
		if last.fault != Sound {
			t.Errorf("%d upgrades: the last one is %v", n, last)
		}
	}
}

func TestConfigNamesTheFlagThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for flag, spoil := range map[string]func(*Config){
		"--rate":       func(c *Config) { c.Rate = 0 },
		"--duration":   func(c *Config) { c.Duration = 0 },
		"--upgrades":   func(c *Config) { c.Upgrades = -1 },
		"--bake":       func(c *Config) { c.Bake = time.Millisecond },
		"--lose-every": func(c *Config) { c.LoseEvery = -1 },
		"executable":   func(c *Config) { c.Executable = "" },
	} {
		c := Default()
		c.Executable = "/bin/supervisor"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), flag+":") {
			t.Errorf("error is %v, want one about %s", err, flag)
		}
	}
}

// What is in flight must end long before the drain does.
func TestTrafficIsValidAndShorterThanTheDrain(t *testing.T) {
	t.Parallel()
	for _, duration := range []time.Duration{minDuration, 4 * time.Second, 16 * time.Second, time.Hour} {
		for _, rate := range []int{minRate, 200, 1000, maxRate} {
			c := Config{Rate: rate, Duration: duration, Upgrades: 1, Bake: minBake}
			if err := c.load("127.0.0.1:80").Validate(); err != nil {
				t.Errorf("rate %d for %v: %v", rate, duration, err)
			}
			if longest := max(c.slowFor(), c.streamFor()); longest > drainTimeout/2 {
				t.Errorf("a request takes %v, the drain %v", longest, drainTimeout)
			}
		}
	}
}
