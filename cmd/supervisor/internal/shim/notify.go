package shim

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

// A notice is one datagram of a program that tells how it is (sd_notify(3)).
type notice struct {
	ready, stopping bool
	status          string
	fed             bool // WATCHDOG=1
	trigger         bool // WATCHDOG=trigger
	// limit is that of WATCHDOG_USEC, if limited.
	limit   time.Duration
	limited bool
	store   bool // FDSTORE=1
	mainPID string
}

// maxUsec is the longest time.Duration, in microseconds.
const maxUsec = math.MaxInt64 / int64(time.Microsecond)

// parseNotice reads a datagram: lines of KEY=VALUE, of which unknown ones mean
// nothing.
func parseNotice(text []byte) notice {
	var n notice
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\n"), "=")
		if !ok {
			continue
		}
		switch key {
		case "READY":
			n.ready = n.ready || value == "1"
		case "STOPPING":
			n.stopping = n.stopping || value == "1"
		case "STATUS":
			n.status = strings.ToValidUTF8(value, "?")
		case "WATCHDOG":
			n.trigger = n.trigger || value == "trigger"
			n.fed = n.fed || value == "1"
		case "WATCHDOG_USEC":
			if usec, err := strconv.ParseInt(value, 10, 64); err == nil && usec >= 0 && usec <= maxUsec {
				n.limit, n.limited = time.Duration(usec)*time.Microsecond, true
			}
		case "FDSTORE":
			n.store = n.store || value == "1"
		case "MAINPID":
			n.mainPID = value
		}
	}
	return n
}
