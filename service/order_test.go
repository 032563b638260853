package service

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/fdpass"
)

// TestSignalWaitsForTheSupervisorsOrder: who begins the drain, when, and whether
// it is final.
func TestSignalWaitsForTheSupervisorsOrder(t *testing.T) {
	const soon = 100 * time.Millisecond
	for _, test := range []struct {
		name  string
		alone bool
		event func(*Service) // happens soon, if not nil
		after time.Duration
		final bool
	}{
		{"no word", false, nil, orderGrace, false},
		{"a final order", false, func(s *Service) { s.drainFor(s.control.now(), fdpass.Drain{ID: 1, DeadlineMS: 1000, Final: true}) }, soon, true},
		{"an order", false, func(s *Service) { s.drainFor(s.control.now(), fdpass.Drain{ID: 1, DeadlineMS: 1000}) }, soon, false},
		{"the end of the channel", false, func(s *Service) { s.control.now().end() }, soon, true},
		{"alone", true, nil, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(Config{Logger: quietLog(t)})
				if !test.alone {
					s.control = newControl(s, nil)
				}
				start := time.Now()
				asked := make(chan struct{})
				go func() {
					defer close(asked)
					s.drainAsked("terminated", nil)
				}()
				if test.event != nil {
					time.AfterFunc(soon, func() { test.event(s) })
				}
				<-s.Draining()
				if _, _, final := s.drain.now(); final != test.final || time.Since(start) != test.after {
					t.Errorf("drains after %v, final %v; want %v, %v", time.Since(start), final, test.after, test.final)
				}
				<-asked
				if took := time.Since(start); took != test.after {
					t.Errorf("waited for %v", took)
				}
			})
		})
	}
}

// queue has n clients wait in the accept queue of a paused scene.
func (s *scene) queue(t *testing.T, n int) []*rawClient {
	var queued []*rawClient
	for range n {
		c := rawDial(t, s.f.addr())
		c.write(getOK)
		queued = append(queued, c)
	}
	return queued
}

// TestToldTogetherWithItsSupervisor: the program is told to end a moment before
// its supervisor orders the final drain. It goes on accepting, and the queue is
// emptied.
func TestToldTogetherWithItsSupervisor(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	s.cancel()
	c := rawDial(t, s.f.addr())
	c.write(getOK)
	if c.answer("ok") {
		t.Error("drains without waiting for its supervisor")
	}
	s.pause()
	queued := s.queue(t, 20)
	s.beginDrain(20*time.Second, true)
	for _, c := range queued {
		c.answer("ok")
	}
	if m := s.drained(); m.Accepted != 21 {
		t.Errorf("accepted %d of 21", m.Accepted)
	}
}

// TestDrainBecomesFinal: the order that makes a drain final counts as long as the
// listeners are open.
func TestDrainBecomesFinal(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	s.pause()
	queued := s.queue(t, 20)
	gate := &s.service.endpoints[0].listener.gate
	gate.state.Add(1) // an accept that does not return
	gate.mu.Lock()
	gate.quiet = make(chan struct{})
	gate.mu.Unlock()
	s.service.drainMyself("test")
	s.beginDrain(20*time.Second, true)
	eventually(t, "the order has come", func() bool {
		_, _, final := s.service.drain.now()
		return final
	})
	gate.leave()
	for _, c := range queued {
		c.answer("ok")
	}
	s.drained()
}
