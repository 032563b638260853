package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm waits with the precision of a timerfd (timerfd_create(2)). The
// runtime's own timers are rounded up to whole milliseconds while a process is
// idle, which is more than a fast server takes to answer.
type alarm struct {
	fd   int
	file *os.File // owns fd; in the runtime's poller
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create a timer: %w", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// wait returns after d, or with an error after interrupt. One goroutine at a
// time may wait.
func (a *alarm) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		return err
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}

// interrupt ends the present wait and every later one.
func (a *alarm) interrupt() {
	a.file.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // fails only once closed
}

// close ends the alarm, when nobody waits.
func (a *alarm) close() { a.file.Close() }
