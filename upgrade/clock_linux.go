package upgrade

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is the time since the boot, suspends included: the clock that
// processes one after another share and nobody sets (clock_gettime(2)).
func BootTime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0 // it is there since Linux 2.6.39
	}
	return time.Duration(now.Nano())
}
