package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An observation is what came of a fault in one run.
type observation struct {
	phase   string // in which it truly fell
	missed  bool   // that is not the cell's
	verdict string // "none" if no upgrade was asked for
	reason  string
	server  server // "" if nobody served

	requests, failed uint64
	kinds            string // of the failures
	own              uint64 // failures on connections that the failed process had accepted
	unnoted          uint64 // failures that may be such: see clients.attribute
	gap              uint64 // failures, not its own, while the listener was shut

	slowest    time.Duration // request, beyond its own time
	clients    time.Duration // from the fault until no client failed or waited long
	supervisor time.Duration // from the fault until one generation was active and all else had ended
	successor  bool          // the supervisor is another process

	remedies string // what the remedy came to, where it is not as it should be
	next     string // the verdict of the ordinary upgrade after it, with the reason if it is a bad one
	left     []string
	besides  []string // objections of the fault itself
}

// judge says what of an observation is not as expected: nothing, if the cell is held.
func judge(want expectation, o observation) (objections []string) {
	object := func(format string, args ...any) { objections = append(objections, fmt.Sprintf(format, args...)) }
	if !slices.Contains(want.verdicts, o.verdict) {
		object("%s instead of %s: %s", o.verdict, strings.Join(want.verdicts, " or "), o.reason)
	}
	if serves := want.serves(o.verdict); serves != o.server {
		object("%q serves instead of %q", o.server, serves)
	}
	allowed := uint64(0)
	switch want.loss {
	case lossOwn:
		allowed = o.own + o.unnoted
	case lossGap:
		allowed = o.gap
	}
	if o.failed > allowed {
		object("%d requests failed (%s), of which %d may", o.failed, o.kinds, allowed)
	}
	if o.requests == 0 {
		object("there was no traffic")
	}
	if o.remedies != "" {
		object("%s did not help: %s", want.remedy, o.remedies)
	}
	if o.next != "committed" {
		object("the next upgrade: %s", o.next)
	}
	if len(o.left) > 0 {
		object("left behind: %s", strings.Join(o.left, "; "))
	}
	return append(objections, o.besides...)
}
