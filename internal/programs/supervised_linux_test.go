package programs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/rig"
)

// unspoken is for how long a program has to live that has no word for being ready.
const unspoken = 200 * time.Millisecond

// supervise starts a supervisor with the site's program and waits until that is
// active.
func (s *site) supervise(binary string, flags ...string) *rig.Supervisor {
	s.Helper()
	args := []string{"--settle", "20ms", "--bake", "50ms", "--queue", "*:off", "--backoff-min", "10ms", "--drain-timeout", "10s"}
	if !s.verbatim {
		args = append(args, "--listen", "http=tcp://"+s.address, "--protocol", s.protocol)
	}
	if s.quiet && !s.verbatim {
		args = append(args, "--ready", unspoken.String())
	}
	return rig.Start(s.TB, rig.Config{Binary: binary, Dir: s.dir, Flags: append(append(args, s.flags...), flags...), Program: s.words()})
}

// load begins the site's traffic.
func (s *site) load() *load.Run {
	s.Helper()
	target := "http://" + s.address
	if s.traffic[0].Raw {
		target = "tcp://" + s.address
	}
	run, err := load.Start(context.WithoutCancel(s.Context()), load.Config{
		Target: target, Duration: 10 * time.Minute, Timeout: time.Minute, Traffic: s.traffic,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { run.Stop() })
	return run
}

// answered waits until so many more requests have been answered.
func answered(tb testing.TB, run *load.Run, more uint64) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(rig.Patience)
	for want := run.Snapshot().OK + more; run.Snapshot().OK < want; {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("no answers: %+v", run.Stop().FailedByKind)
		}
	}
}

// failures says what failed, and how.
func failures(r load.Report) string {
	var all []string
	for _, t := range r.Traffic {
		for _, f := range t.Failures {
			all = append(all, fmt.Sprintf("%s: %d %s (%s)", t.Name, f.Count, f.Kind, f.First[0].Error))
		}
	}
	return strings.Join(all, "; ")
}
