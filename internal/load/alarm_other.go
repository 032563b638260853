//go:build !linux

package load

import (
	"errors"
	"sync"
	"time"
)

// An alarm waits with the precision of the runtime's timers.
type alarm struct {
	once sync.Once
	done chan struct{}
}

func newAlarm() (*alarm, error) { return &alarm{done: make(chan struct{})}, nil }

// wait returns after d, or with an error after interrupt.
func (a *alarm) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.done:
		return errors.New("interrupted")
	}
}

// interrupt ends the present wait and every later one.
func (a *alarm) interrupt() { a.once.Do(func() { close(a.done) }) }

func (a *alarm) close() {}
