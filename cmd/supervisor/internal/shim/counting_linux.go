package shim

import (
	"context"
	"os"
	"sync"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/orphan"
	"golang.org/x/sys/unix"
)

const (
	// restPace and drainPace are how often the connections are looked at: as often
	// as a native generation speaks on which nothing happens, and as one that drains.
	restPace  = time.Second
	drainPace = 100 * time.Millisecond
	// restShare and drainShare are how many times as long as a look took is waited at
	// least before the next: they bound what looks take of a core to 2 % and 9 %.
	restShare  = 50
	drainShare = 10
	// lookFirst bounds how long a program that is to be told to end is looked at
	// before.
	lookFirst = 100 * time.Millisecond
	// mostProcesses is how many processes the machine may have for those of the
	// program to be found among them.
	mostProcesses = 16 << 10
)

// A counting looks at the program's connections in a goroutine of its own, because a
// look may take long. A nil one does nothing.
type counting struct {
	pace chan time.Duration // of one
	seen chan seen
	end  context.CancelFunc
	runs sync.WaitGroup
}

// seen is the result of one look.
type seen struct {
	open []health.Connections
	err  error // why some are not known
}

// startCounting begins to look, if the supervisor wants to know.
func (s *shim) startCounting(ctx context.Context) {
	s.open = make([]health.Connections, len(s.listeners))
	if s.welcome.StatsMS == 0 {
		return
	}
	s.tellCounts() // which program it is
	fds := make([]int, len(s.listeners))
	for i, l := range s.listeners {
		fds[i] = l.FD
	}
	self, group := os.Getpid(), unix.Getpgrp()
	census, err := health.NewCensus(fds, func(ctx context.Context) ([]int, error) {
		return orphan.Family(ctx, self, group, mostProcesses)
	})
	if err != nil {
		s.cannotCount(err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s.counting = &counting{pace: make(chan time.Duration, 1), seen: make(chan seen), end: cancel}
	s.counting.runs.Go(func() { // it ends with ctx
		s.counting.run(ctx, census, s.program.pid, len(fds))
		_ = census.Close()
	})
}

func (c *counting) run(ctx context.Context, census *health.Census, program, listeners int) {
	pace, share := restPace, restShare
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case pace = <-c.pace:
			share = drainShare
		case <-next.C:
		}
		open := make([]health.Connections, listeners)
		cost, err := census.Look(ctx, open)
		if orphan.IsEnding(program) { // it may have closed some by then
			return
		}
		select {
		case c.seen <- seen{open, err}:
		case <-ctx.Done():
			return
		}
		next.Reset(max(pace, time.Duration(share)*cost))
	}
}

// hasten looks at once, and often from then on. It reports whether there is anybody
// to look.
func (c *counting) hasten() bool {
	if c == nil {
		return false
	}
	c.pace <- drainPace // called once, it never waits
	return true
}

func (c *counting) looks() <-chan seen {
	if c == nil {
		return nil
	}
	return c.seen
}

func (c *counting) stop() {
	if c != nil {
		c.end()
		c.runs.Wait()
	}
}

// counted takes the result of a look.
func (s *shim) counted(seen seen) {
	s.open = seen.open
	if seen.err != nil {
		s.cannotCount(seen.err)
	}
	s.tellCounts()
	if s.draining && s.sent == 0 {
		s.step.Stop()
		s.nextStep()
	}
}

// cannotCount logs, once, why connections are not known.
func (s *shim) cannotCount(err error) {
	if !s.uncounted {
		s.uncounted = true
		s.log.Warn("the program's connections cannot be counted; how many are open is not known", "error", err)
	}
}

// tellCounts tells the supervisor what is known.
func (s *shim) tellCounts() {
	if s.welcome.StatsMS == 0 {
		return
	}
	stats := fdpass.Stats{Program: s.program.pid, Listeners: make([]fdpass.ListenerStats, len(s.listeners))}
	for i, l := range s.listeners {
		open := s.open[i]
		stats.Listeners[i] = fdpass.ListenerStats{Name: l.Name, Active: int64(open.Open), Unknown: !open.Known}
	}
	for _, part := range stats.Split() {
		s.say(part)
	}
}

// left is how many connections were open at the last look.
func (s *shim) left() (n int, unknown bool) {
	for _, l := range s.open {
		n, unknown = n+l.Open, unknown || !l.Known
	}
	if unknown {
		return 0, true
	}
	return n, false
}
