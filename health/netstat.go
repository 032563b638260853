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
// a text without any of TcpExt or Tcp is an error.
func ParseNetstat(netstat, snmp []byte) (Counters, error) {
	var c Counters
	err := parsePair(netstat, "TcpExt:", map[string]*uint64{
		"ListenOverflows":      &c.ListenOverflows,
		"ListenDrops":          &c.ListenDrops,
		"SyncookiesSent":       &c.SyncookiesSent,
		"SyncookiesRecv":       &c.SyncookiesRecv,
		"SyncookiesFailed":     &c.SyncookiesFailed,
		"TCPReqQFullDrop":      &c.ReqQFullDrop,
		"TCPReqQFullDoCookies": &c.ReqQFullDoCookies,
	})
	if err == nil {
		err = parsePair(snmp, "Tcp:", map[string]*uint64{"PassiveOpens": &c.PassiveOpens})
	}
	if err != nil {
		return Counters{}, fmt.Errorf("cannot read the counters of the network namespace: %w", err)
	}
	return c, nil
}

// parsePair finds the pair of lines that begin with a prefix, and fills in the
// counters that are wanted.
func parsePair(text []byte, prefix string, wanted map[string]*uint64) error {
	var names []byte
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(prefix))
		if !ok {
			continue
		}
		if names != nil {
			return parseValues(names, rest, wanted)
		}
		names = rest
	}
	return fmt.Errorf("no two lines begin with %s", prefix)
}

var errUneven = errors.New("there are not as many values as names")

func parseValues(names, values []byte, wanted map[string]*uint64) error {
	name, value := bytes.Fields(names), bytes.Fields(values)
	if len(name) != len(value) {
		return errUneven
	}
	for i := range name {
		counter, ok := wanted[string(name[i])]
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(string(value[i]), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", name[i], err)
		}
		*counter = n
	}
	return nil
}
