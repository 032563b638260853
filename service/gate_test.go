package service

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeSocket is something to wait in that a deadline interrupts.
type fakeSocket struct {
	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{}
	data     chan int
}

func newFakeSocket() *fakeSocket {
	return &fakeSocket{changed: make(chan struct{}), data: make(chan int, 1)}
}

func (s *fakeSocket) setDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *fakeSocket) take() (int, error) {
	for {
		s.mu.Lock()
		deadline, changed := s.deadline, s.changed
		s.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			if !time.Now().Before(deadline) {
				return 0, os.ErrDeadlineExceeded
			}
			expired = time.After(time.Until(deadline))
		}
		select {
		case n := <-s.data:
			return n, nil
		case <-expired:
		case <-changed:
		}
	}
}

// takeThrough is what packets.read does.
func takeThrough(g *gate, s *fakeSocket) (int, error) {
	for {
		if err := g.enter(); err != nil {
			return 0, err
		}
		n, err := s.take()
		g.leave()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || g.expired() {
			return n, err
		}
	}
}

type taken struct {
	n   int
	err error
}

func TestGateHoldsCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSocket()
		g := &gate{setDeadline: s.setDeadline}
		results := make(chan taken)
		take := func() {
			n, err := takeThrough(g, s)
			results <- taken{n, err}
		}
		go take()
		synctest.Wait()
		quiet := g.pause()
		<-quiet // the call inside was woken
		s.data <- 7
		synctest.Wait()
		if len(s.data) != 1 {
			t.Fatal("something was taken through a shut gate")
		}
		if g.pause() != quiet {
			t.Error("a second pause waits for something else")
		}
		g.resume()
		if r := <-results; r.n != 7 || r.err != nil {
			t.Errorf("took %+v", r)
		}
		go take()
		synctest.Wait()
		g.close()
		if r := <-results; !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("after close: %v", r.err)
		}
		g.resume()
		if err := g.enter(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed gate was opened again: %v", err)
		}
	})
}

func TestGateKeepsTheUsersDeadline(t *testing.T) {
	for _, test := range []struct {
		name          string
		setWhileShut  bool
		resumeAfter   time.Duration // 0: never
		expireAfter   time.Duration
		extendedAfter time.Duration // 0: never; then by an hour
	}{
		{"set before a pause", false, 0, time.Minute, 0},
		{"set while paused", true, 0, time.Minute, 0},
		{"resumed before it", false, time.Second, time.Minute, 0},
		{"extended while paused", false, 0, time.Hour + time.Second, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeSocket()
				g := &gate{setDeadline: s.setDeadline}
				start := time.Now()
				set := func(d time.Duration) {
					if err := g.setUserDeadline(time.Now().Add(d)); err != nil {
						t.Error(err)
					}
				}
				if !test.setWhileShut {
					set(time.Minute)
				}
				g.pause()
				if test.setWhileShut {
					set(time.Minute)
				}
				if test.resumeAfter > 0 {
					time.AfterFunc(test.resumeAfter, g.resume)
				}
				if test.extendedAfter > 0 {
					time.AfterFunc(test.extendedAfter, func() { set(time.Hour) })
				}
				_, err := takeThrough(g, s)
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != test.expireAfter {
					t.Errorf("%v after %v, want it after %v", err, time.Since(start), test.expireAfter)
				}
			})
		})
	}
}

// TestGateIsQuietOnlyWhenEmpty counts the calls inside under contention.
func TestGateIsQuietOnlyWhenEmpty(t *testing.T) {
	t.Parallel()
	g := &gate{setDeadline: func(time.Time) error { return nil }}
	var inside sync.WaitGroup
	stop := make(chan struct{})
	var shut sync.RWMutex // held for writing while the gate must be empty
	for range 4 {
		inside.Go(func() {
			for !isClosed(stop) {
				if g.enter() != nil {
					return
				}
				if !shut.TryRLock() {
					t.Error("somebody is inside a quiet gate")
				} else {
					shut.RUnlock()
				}
				g.leave()
			}
		})
	}
	for range 2000 {
		<-g.pause()
		shut.Lock()
		//lint:ignore SA2001 the calls inside look whether it is held
		shut.Unlock()
		g.resume()
	}
	close(stop)
	g.close()
	inside.Wait()
}
