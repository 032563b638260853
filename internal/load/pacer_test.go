package load

import (
	"net/netip"
	"testing"
	"time"
)

func startedPacer(t *testing.T) *pacer {
	t.Helper()
	p, err := newPacer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestPacerGivesOutEveryTimeInOrder(t *testing.T) {
	t.Parallel()
	p := startedPacer(t)
	start := time.Now()
	var due []time.Duration
	note := func(at time.Time) {
		if at.After(time.Now()) {
			t.Errorf("%v was given out too early", at.Sub(start))
		}
		due = append(due, at.Sub(start))
	}
	p.add(start, 1000, note)
	p.add(start.Add(500*time.Microsecond), 300, note)
	p.run(start.Add(100*time.Millisecond), noLimit)
	if len(due) != 100+30 {
		t.Fatalf("%d requests in 100 ms at 1,000 and 300 a second", len(due))
	}
	for i := range due[1:] {
		if due[i+1] < due[i] {
			t.Errorf("%v after %v", due[i+1], due[i])
		}
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("it ended after %v", took)
	}
}

// TestPacerCatchesUp: a pacer that could not run does not leave out what was
// due meanwhile, nor does it move it.
func TestPacerCatchesUp(t *testing.T) {
	t.Parallel()
	p := startedPacer(t)
	start := time.Now()
	var due []time.Time
	p.add(start, 1000, func(at time.Time) {
		if len(due) == 5 {
			<-time.After(30 * time.Millisecond)
		}
		due = append(due, at)
	})
	p.run(start.Add(time.Hour), 60)
	if len(due) != 60 {
		t.Fatalf("%d of 60", len(due))
	}
	for i, at := range due {
		if want := start.Add(time.Duration(i) * time.Millisecond); !at.Equal(want) {
			t.Errorf("number %d was due %v too late", i, at.Sub(want))
		}
	}
	if lag := latencyOf(p.lag); lag.MaxMS < 25 {
		t.Errorf("the lag %+v does not show the delay", lag)
	}
}

func TestPacerDoesNotDrift(t *testing.T) {
	t.Parallel()
	p := startedPacer(t)
	start := time.Now().Add(-1000 * time.Second) // all of it is due
	var last time.Time
	p.add(start, 300, func(at time.Time) { last = at })
	p.run(start.Add(1000*time.Second), noLimit)
	if got, want := last.Sub(start), 1000*time.Second-time.Second/300; (got - want).Abs() > time.Microsecond {
		t.Errorf("the last of 300,000 is due at %v, want %v", got, want)
	}
}

func TestPacerIsInterrupted(t *testing.T) {
	t.Parallel()
	p := startedPacer(t)
	start := time.Now()
	p.add(start.Add(time.Hour), 1, func(time.Time) { t.Error("fired") })
	done := make(chan struct{})
	go func() { // joined by done
		defer close(done)
		p.run(start.Add(2*time.Hour), noLimit)
	}()
	p.interrupt()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	p.run(start.Add(2*time.Hour), noLimit) // interrupted for good
}

// TestSourcesHaveEnoughPorts: with the ports of connections in TIME-WAIT for a
// minute, half of the ports of every source address stay free.
func TestSourcesHaveEnoughPorts(t *testing.T) {
	t.Parallel()
	const ports = 28232
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, row := range []struct {
		to    string
		rate  float64
		count int
	}{
		{"127.0.0.1", 10, 0},
		{"127.0.0.1", 235, 0},
		{"127.0.0.1", 236, 2},
		{"127.0.0.1", 1000, 5},
		{"127.9.9.9", 1000, 5},
		{"127.0.0.1", 1e6, 254},
		{"::1", 1000, 0},
		{"192.0.2.1", 1000, 0},
	} {
		got := sources(netip.MustParseAddr(row.to), row.rate, 0, ports)
		if len(got) != row.count {
			t.Errorf("%v connections a second to %s: from %d addresses, want %d", row.rate, row.to, len(got), row.count)
		}
		seen := map[netip.Addr]bool{}
		for _, a := range got {
			if !a.IsLoopback() || !a.Is4() || seen[a] || a.As4()[3] == 0 || a.As4()[3] == 255 {
				t.Errorf("bad source %v in %v", a, got)
			}
			seen[a] = true
		}
	}
	for rate := 1.0; rate < 50_000; rate *= 1.1 {
		n := max(len(sources(loopback, rate, 0, ports)), 1)
		if waiting := rate * secondsInTimeWait / float64(n); waiting > ports/2+1 {
			t.Errorf("at %.0f a second %.0f ports of each address are taken", rate, waiting)
		}
	}
}
