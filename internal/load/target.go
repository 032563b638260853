package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A target is where a server listens.
type target struct {
	scheme  string // http, https, tcp or unix
	network string // tcp or unix
	address string // HOST:PORT, a path or an abstract name
	host    string // of the Host header
}

func parseTarget(s string) (target, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return target{}, fmt.Errorf("target: %q is not http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or unix:///PATH", s)
	}
	switch scheme {
	case "http", "https", "tcp":
		rest = strings.TrimSuffix(rest, "/")
		if port := standardPort(scheme); port != "" && !strings.Contains(rest[strings.LastIndexByte(rest, ']')+1:], ":") {
			rest += port
		}
		if _, port, err := net.SplitHostPort(rest); err != nil || port == "" || strings.ContainsAny(rest, "/?# ") {
			return target{}, fmt.Errorf("target: %q is not HOST:PORT", rest)
		}
		return target{scheme: scheme, network: "tcp", address: rest, host: rest}, nil
	case "unix":
		if rest == "" || strings.ContainsRune(rest, 0) {
			return target{}, errors.New("target: the path of the Unix socket is empty or contains a NUL byte")
		}
		return target{scheme: scheme, network: "unix", address: rest, host: "localhost"}, nil
	}
	return target{}, fmt.Errorf("target: unknown scheme %q; known are http, https, tcp and unix", scheme)
}

func standardPort(scheme string) string {
	switch scheme {
	case "http":
		return ":80"
	case "https":
		return ":443"
	}
	return ""
}

// urlScheme is the scheme of the URLs that a request is for.
func (t target) urlScheme() string {
	if t.scheme == "https" {
		return "https"
	}
	return "http"
}

// resolve replaces a host name by an address: looking it up again for every
// connection would measure the resolver.
func (t target) resolve(ctx context.Context) (target, error) {
	if t.network == "unix" {
		return t, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", t.address)
	if err != nil {
		return t, fmt.Errorf("target: %w", err)
	}
	if addr.IP == nil { // an empty host means this machine
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	t.address = addr.String()
	return t, ctx.Err()
}

// secondsInTimeWait is how long the side that closes first keeps a connection's
// port on Linux (TCP_TIMEWAIT_LEN in include/net/tcp.h).
const secondsInTimeWait = 60

// sources returns the addresses to connect from, so that connections that are
// kept or in TIME-WAIT never take more than half of the ports of each: at 1,000
// connections a second one address with its 28,232 ports lasts for 28 seconds.
// It returns nil where the system should choose: they are few, or the target is
// not in 127.0.0.0/8, where every address is this machine's.
func sources(to netip.Addr, perSecond float64, kept, ports int) []netip.Addr {
	if !wholeLoopback || !to.Is4() || !to.IsLoopback() {
		return nil
	}
	usable := max(ports/2, 1)
	n := min((int(perSecond*secondsInTimeWait)+kept)/usable+1, 254)
	if n == 1 {
		return nil
	}
	addrs := make([]netip.Addr, n)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)})
	}
	return addrs
}
