package load

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// wholeLoopback: all of 127.0.0.0/8 can be bound.
const wholeLoopback = true

// bindWithoutPort lets connect choose the port instead of bind, which has to
// find one that is free for every destination (IP_BIND_ADDRESS_NO_PORT, ip(7)).
func bindWithoutPort(_, _ string, c syscall.RawConn) error {
	var inner error
	if err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); err != nil {
		return err
	}
	return inner
}

// ephemeralPorts is the number of ports that connect may choose from
// (ip_local_port_range, ip(7)).
func ephemeralPorts() int {
	var low, high int
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &low, &high)
	}
	if err != nil || high < low {
		return 28232
	}
	return high - low + 1
}
