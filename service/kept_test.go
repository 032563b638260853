package service

import (
	"testing"
	"time"
)

// TestKeptQueueIsLeftToTheServiceManager: a final drain empties the queue of one
// listener, and leaves that of another to whoever keeps it.
func TestKeptQueueIsLeftToTheServiceManager(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{IdleTimeout: 50 * time.Millisecond})
	s.f.listeners[0].Kept = true
	kept := s.f.start(Config{IdleTimeout: 50 * time.Millisecond}, serveOK)
	s.pause()
	kept.pause()
	queued := s.queue(t, 20)
	kept.beginDrain(20*time.Second, true)
	if m := kept.drained(); m.Accepted != 0 {
		t.Errorf("accepted %d", m.Accepted)
	}
	late := rawDial(t, s.f.addr()) // no filter drops it
	late.write(getOK)
	s.beginDrain(20*time.Second, true)
	for _, c := range append(queued, late) {
		c.answer("ok")
	}
	if m := s.drained(); m.Accepted != 21 {
		t.Errorf("accepted %d of 21", m.Accepted)
	}
}
