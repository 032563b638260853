package systemd

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog says that this process is alive.
func (n *Notifier) Watchdog() error { return n.send(daemon.SdNotifyWatchdog) }

// WatchdogInterval is the time after which the service manager ends a service
// whose last Watchdog is that long ago, and whether there is such a time. Half of
// it is a good distance between two (sd_watchdog_enabled(3)).
func (n *Notifier) WatchdogInterval() (time.Duration, bool) {
	if !n.On() {
		return 0, false
	}
	return n.watchdog, n.watchdog > 0
}

// watchdogTime is 0 where no watchdog is set, or one for another process than
// self. go-systemd's daemon.SdWatchdogEnabled, which is for the same, takes a
// time that is out of range for a short one.
func watchdogTime(usec, pid string, self int) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	us, err := strconv.ParseUint(usec, 10, 63)
	if err != nil || us == 0 || us > math.MaxInt64/uint64(time.Microsecond) {
		return 0, fmt.Errorf("cannot use WATCHDOG_USEC=%q: it is not a number of microseconds above 0; "+
			"set WatchdogSec= in the service unit, and take the variable out of its Environment=", usec)
	}
	if pid != "" {
		watched, err := strconv.ParseUint(pid, 10, 31)
		if err != nil {
			return 0, fmt.Errorf("cannot use WATCHDOG_PID=%q: it is not the number of a process; take the variable out of Environment= of the service unit", pid)
		}
		if watched != uint64(self) {
			return 0, nil
		}
	}
	return time.Duration(us) * time.Microsecond, nil
}
