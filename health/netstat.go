package health

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Counters are what the kernel counts for one network namespace as a whole:
// which listener it was, they do not say. They only grow
// (Documentation/networking/snmp_counter.rst of the kernel).
type Counters struct {
	// ListenOverflows counts packets that found an accept queue full.
	ListenOverflows uint64
	// ListenDrops counts those and all others that a listener discarded.
	ListenDrops uint64
	// SyncookiesSent, SyncookiesRecv and SyncookiesFailed count SYN cookies that
	// were sent, that came back, and that came back wrong.
	SyncookiesSent, SyncookiesRecv, SyncookiesFailed uint64
	// ReqQFullDrop counts SYNs that were dropped because a listener had too many
	// half-open connections, ReqQFullDoCookies those that got a cookie instead.
	ReqQFullDrop, ReqQFullDoCookies uint64
	// PassiveOpens counts connections that clients opened.
	PassiveOpens uint64
}

// Since returns by how much each counter grew. Those of a 32-bit kernel wrap.
func (c Counters) Since(earlier Counters) Counters {
	grown := func(now, then uint64) uint64 {
		if now < then && then <= math.MaxUint32 {
			return uint64(uint32(now - then))
		}
		return now - then
	}
	return Counters{
		ListenOverflows:   grown(c.ListenOverflows, earlier.ListenOverflows),
		ListenDrops:       grown(c.ListenDrops, earlier.ListenDrops),
		SyncookiesSent:    grown(c.SyncookiesSent, earlier.SyncookiesSent),
		SyncookiesRecv:    grown(c.SyncookiesRecv, earlier.SyncookiesRecv),
		SyncookiesFailed:  grown(c.SyncookiesFailed, earlier.SyncookiesFailed),
		ReqQFullDrop:      grown(c.ReqQFullDrop, earlier.ReqQFullDrop),
		ReqQFullDoCookies: grown(c.ReqQFullDoCookies, earlier.ReqQFullDoCookies),
		PassiveOpens:      grown(c.PassiveOpens, earlier.PassiveOpens),
	}
}

// ParseNetstat reads /proc/net/netstat and /proc/net/snmp. They hold pairs of
// lines, names and then values. A counter that the kernel does not have is 0;
// a text without the lines of TcpExt or Tcp is an error.
func ParseNetstat(netstat, snmp []byte) (Counters, error) {
	var c Counters
	err := c.parsePair(netstat, "TcpExt:")
	if err == nil {
		err = c.parsePair(snmp, "Tcp:")
	}
	if err != nil {
		return Counters{}, fmt.Errorf("cannot read the counters of the network namespace: %w", err)
	}
	return c, nil
}

// of returns the counter with the kernel's name, nil if it is none of these.
func (c *Counters) of(prefix string, name []byte) *uint64 {
	if prefix == "Tcp:" {
		if string(name) == "PassiveOpens" {
			return &c.PassiveOpens
		}
		return nil
	}
	switch string(name) {
	case "ListenOverflows":
		return &c.ListenOverflows
	case "ListenDrops":
		return &c.ListenDrops
	case "SyncookiesSent":
		return &c.SyncookiesSent
	case "SyncookiesRecv":
		return &c.SyncookiesRecv
	case "SyncookiesFailed":
		return &c.SyncookiesFailed
	case "TCPReqQFullDrop":
		return &c.ReqQFullDrop
	case "TCPReqQFullDoCookies":
		return &c.ReqQFullDoCookies
	}
	return nil
}

// parsePair finds the pair of lines that begin with a prefix, and fills in the
// counters that are known.
func (c *Counters) parsePair(text []byte, prefix string) error {
	var names []byte
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(prefix))
		if !ok {
			continue
		}
		if names != nil {
			return c.parseValues(prefix, names, rest)
		}
		names = rest
	}
	return fmt.Errorf("no two lines begin with %s", prefix)
}

var errUneven = errors.New("there are not as many values as names")

func (c *Counters) parseValues(prefix string, names, values []byte) error {
	for {
		name, otherNames := word(names)
		value, otherValues := word(values)
		if (len(name) == 0) != (len(value) == 0) {
			return errUneven
		}
		if len(name) == 0 {
			return nil
		}
		names, values = otherNames, otherValues
		counter := c.of(prefix, name)
		if counter == nil {
			continue
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*counter = n
	}
}

// word cuts off the first word of a line.
func word(line []byte) (first, rest []byte) {
	line = bytes.TrimLeft(line, " \n")
	if end := bytes.IndexAny(line, " \n"); end >= 0 {
		return line[:end], line[end:]
	}
	return line, nil
}
