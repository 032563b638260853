package chaos

import (
	"fmt"
	"time"

	"example.com/supervisor/internal/load"
)

// A death is the end of a generation that takes with it what it had accepted.
type death struct {
	generation int
	pid        int
	why        string
	// It was alive before from and dead at to.
	from, to time.Time
	// spoils tells that it is no death: the listener that all share was shut down.
	// Until the supervisor has put that right clients are refused, and those who
	// wait are reset.
	spoils bool
}

// notice is how long after a death a client may learn of it: the kernel has closed
// all sockets when the process is seen dead, and only the client must still be run.
const notice = 250 * time.Millisecond

// excuses reports whether a request may have been lost by d: it was in flight while
// the process died, and was broken off then and not later. A client that is told
// anything, refused or left to wait was not lost with its generation.
func (d death) excuses(o load.Outcome) bool {
	broken := o.Failure == load.Reset || o.Failure == load.EOF || d.spoils && o.Failure == load.Refused
	return broken && !o.Due.After(d.to) && !o.Ended().Before(d.from) && !o.Ended().After(d.to.Add(notice))
}

// unexcused are the failures that no death excuses, in words.
func unexcused(outcomes []load.Outcome, deaths []death) (lost []string, excused int) {
next:
	for _, o := range outcomes {
		for _, d := range deaths {
			if d.excuses(o) {
				excused++
				continue next
			}
		}
		lost = append(lost, fmt.Sprintf("%s, due %s, %s after %v", o.Traffic, o.Due.Format("15:04:05.000"), o.Failure, o.Latency))
	}
	return lost, excused
}
