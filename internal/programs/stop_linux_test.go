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

// crowd is how many clients connect at the moment of a stop.
const crowd = 200

// TestFinalStop counts what the last stop loses, with nobody to accept what waits
// in the queue: below a supervisor, and when the program holds its listener alone.
// Nobody waits in vain with either.
func TestFinalStop(t *testing.T) {
	t.Parallel()
	_, said := upgrades(t)
	binary := rig.Build(t, rig.Command)
	figures := make(chan string, len(programs()))
	t.Cleanup(func() {
		close(figures)
		var lines []string
		for line := range figures {
			lines = append(lines, line)
		}
		t.Logf("of %d clients that connect at the moment of the stop are not answered:\n%s", crowd, strings.Join(lines, "\n"))
	})
	for _, p := range programs() {
		if p.graceful == 0 || !said && p.name != "gunicorn" && p.name != "Python asyncio" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := p.prepare(t)
			u := s.supervise(binary)
			before := s.load()
			answered(t, before, 20)
			before.Stop()
			ours := s.crowded(u.Stop)
			a := s.alone()
			r := a.start()
			if err := a.socket.Close(); err != nil { // the program has it alone now
				t.Fatal(err)
			}
			theirs := s.crowded(func() { a.stop(r) })
			figures <- fmt.Sprintf("| %s | %d | %d |", p.name, ours.Failed, theirs.Failed)
			for _, report := range []load.Report{ours, theirs} {
				if n := report.FailedByKind[load.Timeout]; n > 0 {
					t.Errorf("%d clients waited in vain: %s", n, failures(report))
				}
			}
		})
	}
}

// crowded has a crowd of clients connect while the program is stopped.
func (s *site) crowded(stop func()) load.Report {
	s.Helper()
	traffic := s.traffic[0]
	traffic.Rate = 1e6
	target := "http://" + s.address
	if traffic.Raw {
		target = "tcp://" + s.address
	}
	run, err := load.Start(context.WithoutCancel(s.Context()), load.Config{
		Target: target, Duration: time.Minute, Requests: crowd, Timeout: 20 * time.Second, Traffic: []load.Traffic{traffic},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { run.Stop() })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for run.Snapshot().Requests < crowd {
		<-tick.C
	}
	stop()
	return run.Stop()
}
