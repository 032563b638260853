package shim

import (
	"fmt"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

// A watchdog expects a word of the program again and again, from its being ready
// until it is told to end, as systemd does (WatchdogSec=, systemd.service(5)).
type watchdog struct {
	limit  time.Duration // 0: it expects nothing
	timer  *time.Timer
	barked bool
}

func newWatchdog(limit time.Duration) watchdog {
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	return watchdog{limit: limit, timer: timer}
}

// becomeReady takes it that the program accepts.
func (s *shim) becomeReady() {
	s.ready = true
	s.say(fdpass.Ready{})
	s.feed()
}

// feed has the watchdog wait anew, or not at all.
func (s *shim) feed() {
	switch {
	case s.watchdog.barked:
	case s.ready && !s.draining && s.watchdog.limit > 0:
		s.watchdog.timer.Reset(s.watchdog.limit)
	default:
		s.watchdog.timer.Stop()
	}
}

// starved is called when the watchdog has waited in vain, and once more when the
// program has not ended of what it did then.
func (s *shim) starved() {
	if s.watchdog.barked {
		s.log.Warn("the program does not end; it is killed", "grace", s.cfg.Grace)
		s.program.signal(syscall.SIGKILL)
		return
	}
	s.bark(fmt.Sprintf("did not feed its watchdog for %v", s.watchdog.limit))
}

// bark aborts the program, which shall leave a core that tells where it hung.
func (s *shim) bark(reason string) {
	if s.watchdog.barked || s.draining {
		return
	}
	s.watchdog.barked = true
	s.heard(word{failed: reason})
	s.program.signal(syscall.SIGABRT)
	s.watchdog.timer.Reset(s.cfg.Grace)
}
