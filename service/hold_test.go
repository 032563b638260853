package service

import (
	"math"
	"net/http"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// idleClients opens connections that have had an answer each.
func (s *scene) idleClients(t *testing.T, n int) []*rawClient {
	t.Helper()
	clients := make([]*rawClient, n)
	for i := range clients {
		clients[i] = rawDial(t, s.f.addr())
		clients[i].write(getOK)
		clients[i].answer("ok")
	}
	return clients
}

func (s *scene) active() int64 { return s.service.endpoints[0].counts().active }

// TestHeldDrainKeepsIdleConnections until it is released, and then closes them
// all; whoever asks is answered meanwhile, and told to go.
func TestHeldDrainKeepsIdleConnections(t *testing.T) {
	t.Parallel()
	const idle, n = 300 * time.Millisecond, 40
	s := stage(t, Config{IdleTimeout: idle})
	clients := s.idleClients(t, n)
	s.beginDrain(20*time.Second, false)
	s.send(fdpass.Hold{On: true})
	s.send(fdpass.Hold{On: true})
	<-s.service.Draining()
	wait(2 * idle)
	if got := s.active(); got != n {
		t.Errorf("%d of %d connections are left while they are held", got, n)
	}
	clients[0].write(getOK)
	if !clients[0].answer("ok") {
		t.Error("a held connection is not told to go")
	}
	clients[0].ended()
	start := time.Now()
	s.send(fdpass.Hold{})
	for _, c := range clients[1:] {
		c.ended()
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closed %v after the release", took)
	}
	if m := s.drained(); m.Cut != 0 {
		t.Errorf("cut %d", m.Cut)
	}
}

// TestDeadlineWinsOverHold: in the last tenth idle connections are closed, none
// of them cut.
func TestDeadlineWinsOverHold(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 300 * time.Millisecond})
	clients := s.idleClients(t, 3)
	start := time.Now()
	s.beginDrain(3*time.Second, false)
	s.send(fdpass.Hold{On: true})
	for _, c := range clients {
		c.ended()
	}
	if took := time.Since(start); took < 2500*time.Millisecond {
		t.Errorf("closed after %v", took)
	}
	if m := s.drained(); m.Cut != 0 {
		t.Errorf("cut %d", m.Cut)
	}
}

// TestHoldBeforeTheDrainMeansNothing, then or later.
func TestHoldBeforeTheDrainMeansNothing(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	client := s.idleClients(t, 1)[0]
	s.send(fdpass.Hold{On: true})
	client.write(getOK)
	client.answer("ok")
	s.pause()
	s.send(fdpass.Hold{On: true})
	s.resume()
	start := time.Now()
	s.beginDrain(20*time.Second, false)
	client.ended()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closed after %v", took)
	}
	s.drained()
}

// TestLostChannelReleases: nobody is left to do it.
func TestLostChannelReleases(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 200 * time.Millisecond})
	clients := s.idleClients(t, 3)
	s.beginDrain(20*time.Second, false)
	s.send(fdpass.Hold{On: true})
	<-s.service.Draining()
	wait(400 * time.Millisecond)
	if got := s.active(); got != 3 {
		t.Errorf("%d connections are left while they are held", got)
	}
	start := time.Now()
	s.conn.Close()
	for _, c := range clients {
		c.ended()
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closed after %v", took)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// TestGoAwayIsToldInBatches, and to nobody while they are held.
func TestGoAwayIsToldInBatches(t *testing.T) {
	t.Parallel()
	conns, l := make([]*tracked, 1000), &listener{conns: newRegistry()}
	for i := range conns {
		conns[i] = &tracked{accepted: time.Now()}
		l.conns.add(conns[i], unknownSojourn)
		conns[i].expectHTTP2()
		conns[i].note(nil, http.StateActive)
	}
	asked := func() (n int) {
		for _, c := range conns {
			if c.goAway.Load().asked.Load() {
				n++
			}
		}
		return n
	}
	began := time.Now()
	for i, step := range []struct {
		after time.Duration
		held  bool
		want  int
	}{
		{0, true, 0},
		{0, false, 50},
		{tick, false, 100},
		{2 * tick, true, 100},
		{27 * time.Second, false, 1000},
	} {
		s := sweepOf(began.Add(step.after), began, began.Add(30*time.Second), time.Hour)
		s.held = step.held
		new(httpServer).tend(l, &s)
		if got := asked(); got != step.want {
			t.Errorf("step %d: %d were told, want %d", i, got, step.want)
		}
	}
}

// TestSweepPause: a look that takes long comes more rarely, and none comes later than
// the deadline.
func TestSweepPause(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ took, left, want time.Duration }{
		{0, time.Minute, tick},
		{tick / sweepShare, time.Minute, tick},
		{2 * time.Millisecond, time.Minute, 2 * time.Millisecond * sweepShare},
		{time.Second, time.Minute, slowestTick},
		{time.Second, 3 * time.Millisecond, 3 * time.Millisecond},
		{0, 0, 0},
		{time.Second, -time.Second, 0},
	} {
		if got := sweepPause(test.took, test.left); got != test.want {
			t.Errorf("a look of %v, %v left: %v, want %v", test.took, test.left, got, test.want)
		}
	}
}

// TestSweep: what a look at the connections may do at each moment of a drain.
func TestSweep(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, test := range []struct {
		at, deadline time.Duration
		idle, grace  time.Duration
		late, short  bool
	}{
		{0, 30 * time.Second, 5 * time.Second, time.Second, false, false},
		{26 * time.Second, 30 * time.Second, 5 * time.Second, time.Second, false, false},
		{27 * time.Second, 30 * time.Second, 5 * time.Second, time.Second, true, true},
		{31 * time.Second, 30 * time.Second, 5 * time.Second, time.Second, true, true},
		{9 * time.Second, 9 * time.Second, 5 * time.Second, 300 * time.Millisecond, true, true},
		{0, 2 * time.Second, 1800 * time.Millisecond, time.Second, false, true},
		{0, 0, 0, 0, true, true},
	} {
		s := sweepOf(began.Add(test.at), began, began.Add(test.deadline), 5*time.Second)
		if s.idle != test.idle || s.grace != test.grace || s.late != test.late || s.short != test.short {
			t.Errorf("at %v of %v: %+v", test.at, test.deadline, s)
		}
	}
}

// TestBatches: how many clients are sent to the accept queue of another
// generation at a time.
func TestBatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		s                sweep
		n, limit         int
		closing, telling int
	}{
		{"few", sweep{}, 10, 4096, 16, 16},
		{"many", sweep{}, 1000, 4096, 50, 50},
		{"very many", sweep{}, 20_000, 4096, 512, 512},
		{"short queue", sweep{}, 1000, 128, 16, 16},
		{"shortest queue", sweep{}, 1000, 1, 1, 1},
		{"unknown queue", sweep{}, 1000, 0, 50, 50},
		{"held", sweep{held: true}, 1000, 4096, 0, 0},
		{"no time", sweep{short: true}, 1000, 128, 16, 1000},
		{"late", sweep{short: true, late: true}, 1000, 128, 50, 1000},
	} {
		if closing, telling := test.s.batches(test.n, test.limit); closing != test.closing || telling != test.telling {
			t.Errorf("%s: %d closed and %d told, want %d and %d", test.name, closing, telling, test.closing, test.telling)
		}
	}
}

// TestDrainWithoutEnd: a deadline that is as far as one can say leaves idle
// connections the time that they have.
func TestDrainWithoutEnd(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, whole := range []time.Duration{24 * time.Hour, 999_999 * time.Hour, math.MaxInt64 - time.Hour} {
		if s := sweepOf(began, began, began.Add(whole), 5*time.Second); s.idle != 5*time.Second || s.late || s.short {
			t.Errorf("a drain of %v: %+v", whole, s)
		}
	}
}
