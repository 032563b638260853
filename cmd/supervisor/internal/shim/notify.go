package shim

import (
	"bytes"
	"strings"
)

// A notice is one datagram of a program that tells how it is (sd_notify(3)).
type notice struct {
	ready, stopping bool
	status          string
	trigger         bool // WATCHDOG=trigger
	store           bool // FDSTORE=1
	mainPID         string
}

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
		case "FDSTORE":
			n.store = n.store || value == "1"
		case "MAINPID":
			n.mainPID = value
		}
	}
	return n
}
