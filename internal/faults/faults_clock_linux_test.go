package faults

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clockEnv has the clock of the whole machine set for a moment.
	clockEnv = "SUPERVISOR_TEST_CLOCK"
	// clockTime is for how long.
	clockTime = 400 * time.Millisecond
)

// clockFaults are those of the time of day.
func clockFaults() []fault {
	step := func(by time.Duration) func(*scene) {
		return func(s *scene) {
			s.Helper()
			if err := stepClock(by, clockTime); err != nil {
				s.Fatal(err)
			}
		}
	}
	return []fault{
		{name: "the clock is an hour ahead", before: turn, inject: step(time.Hour), notRun: needsClock},
		{name: "the clock is an hour behind", before: turn, inject: step(-time.Hour), notRun: needsClock},
	}
}

// needsClock says why the clock cannot be set.
func needsClock() string {
	switch {
	case os.Getenv(clockEnv) == "":
		return "it is the clock of the whole machine; " + clockEnv + "=1 has it set for " + clockTime.String() + " in each cell"
	case os.Geteuid() != 0:
		return "only root can set the clock"
	}
	return ""
}

// turn has the clock be that of this test until its end: it is one for all cells.
func turn(tb testing.TB, _ *scene) {
	tb.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = self.Close() }) // which ends the turn
	raw, err := self.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var locked error
	if err := errors.Join(raw.Control(func(fd uintptr) { locked = unix.Flock(int(fd), unix.LOCK_EX) }), locked); err != nil {
		tb.Fatal(err)
	}
}

// stepClock sets the time of day (CLOCK_REALTIME, clock_settime(2)), and back after a
// while, by the clock that nobody sets.
func stepClock(by, lasts time.Duration) (err error) {
	var began, day unix.Timespec
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &began), unix.ClockGettime(unix.CLOCK_REALTIME, &day)); err != nil {
		return err
	}
	defer func() {
		var now unix.Timespec
		back := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		right := unix.NsecToTimespec(day.Nano() + now.Nano() - began.Nano())
		err = errors.Join(err, back, unix.ClockSettime(unix.CLOCK_REALTIME, &right))
	}()
	wrong := unix.NsecToTimespec(day.Nano() + int64(by))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &wrong); err != nil {
		return err
	}
	<-time.After(lasts) // the time itself is what is wanted
	return nil
}
