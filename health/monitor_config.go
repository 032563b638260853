package health

import (
	"errors"
	"fmt"
	"time"
)

// A Listener is a listening stream socket that a Monitor looks at.
type Listener struct {
	Name string
	// FD is borrowed until Close returns.
	FD     int
	Limits Limits
}

// MonitorConfig says what a Monitor looks at, and how often.
type MonitorConfig struct {
	Listeners []Listener
	// Idle is the pause between two looks while nobody follows or tallies: each
	// wakes the process, which costs more than the look. Default 500 ms.
	Idle time.Duration
	// Tallied is the pause while somebody tallies. Default 100 ms.
	Tallied time.Duration
	// Quickest is the shortest pause while somebody follows and a queue is short
	// of room. Default 1 ms.
	Quickest time.Duration
	// SampleShare and WaitingShare bound, as a share of one core, what is spent
	// on depths and on looking into the queues that are not empty: both become
	// rarer where they are dear. Defaults 0.03 and 0.05.
	SampleShare, WaitingShare float64
	// Earlier is what the Monitor of another process has counted, from which this
	// one goes on; the zero value is nothing.
	Earlier Totals
	// Trouble, if set, is called when looks fail, once until they succeed again,
	// and when a listener turns out not to listen, or its limit to be lowered. It
	// must not block.
	Trouble func(error)
}

func (c MonitorConfig) withDefaults() MonitorConfig {
	if c.Idle <= 0 {
		c.Idle = 500 * time.Millisecond
	}
	if c.Tallied <= 0 {
		c.Tallied = 100 * time.Millisecond
	}
	if c.Quickest <= 0 {
		c.Quickest = time.Millisecond
	}
	if c.SampleShare <= 0 {
		c.SampleShare = 0.03
	}
	if c.WaitingShare <= 0 {
		c.WaitingShare = 0.05
	}
	if c.Trouble == nil {
		c.Trouble = func(error) {}
	}
	return c
}

// visible returns a Sampler of the listeners whose queues can be seen, and
// leaves only these in c.
func (c *MonitorConfig) visible() (*Sampler, error) {
	all := c.Listeners
	sampler, err := samplerOf(all)
	if err != nil {
		return nil, err
	}
	_ = sampler.Sample(make([]Sample, len(all))) // its errors are asked for one by one
	c.Listeners = nil
	for i, l := range all {
		if err := sampler.Err(i); errors.Is(err, ErrUnseen) {
			c.Trouble(fmt.Errorf("cannot watch the accept queue of listener %s: %w", l.Name, err))
			continue
		}
		c.Listeners = append(c.Listeners, l)
	}
	if len(c.Listeners) == len(all) {
		return sampler, nil
	}
	if err := sampler.Close(); err != nil {
		return nil, err
	}
	return samplerOf(c.Listeners)
}

func samplerOf(all []Listener) (*Sampler, error) {
	fds := make([]int, len(all))
	for i, l := range all {
		fds[i] = l.FD
	}
	return NewSampler(fds)
}
