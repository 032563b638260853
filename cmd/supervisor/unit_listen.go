package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
)

// socketsOf are the listeners as socket units, in their order.
func socketsOf(listeners []string) ([]systemd.Socket, error) {
	specs, err := listen.ParseSpecs(listeners)
	if err != nil {
		return nil, err
	}
	var sockets []systemd.Socket
	for _, spec := range specs {
		s, err := socketOf(spec)
		if err != nil {
			return nil, fmt.Errorf("cannot make a socket unit of listener %s: %w", spec.Name, err)
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

func socketOf(spec listen.Spec) (systemd.Socket, error) {
	s := systemd.Socket{Name: spec.Name, Listen: "ListenStream", Address: spec.Address, Backlog: spec.Backlog, Mode: spec.Mode}
	switch spec.Network {
	case "systemd":
		return s, fmt.Errorf("the unit will say %[1]s=systemd itself; give the address that systemd is to listen on, such as --listen %[1]s=tcp://:8080", spec.Name)
	case "unix":
		return s, nil
	case "unixpacket":
		s.Listen = "ListenSequentialPacket"
		return s, nil
	case "unixgram":
		s.Listen = "ListenDatagram"
		return s, nil
	case "udp", "udp4", "udp6":
		s.Listen = "ListenDatagram"
	}
	err := numeric(&s, spec.Network)
	return s, err
}

// numeric writes an address in numbers, which are all that systemd takes
// (systemd.socket(5), ListenStream=).
func numeric(s *systemd.Socket, network string) error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("port %q is not a number; systemd knows no names of services", port)
	}
	if number == 0 {
		return errors.New("systemd cannot choose a port; give one, or let the supervisor listen with --no-socket")
	}
	family := strings.TrimLeft(network, "tcpud")
	if host == "" {
		host = map[string]string{"4": "0.0.0.0", "6": "::", "": "::"}[family]
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an IP address; systemd knows no names of hosts: give the address, or let the supervisor listen with --no-socket", host)
	case ip.Zone() != "":
		s.Address = fmt.Sprintf("[%s]:%d%%%s", ip.WithZone(""), number, ip.Zone())
	default:
		s.Address = netip.AddrPortFrom(ip, uint16(number)).String()
	}
	s.V6Only = family == "6" && ip.IsUnspecified()
	return nil
}

// takenFromSystemd are the listeners as the supervisor is told of them.
func takenFromSystemd(sockets []systemd.Socket) []string {
	var listeners []string
	for _, s := range sockets {
		listeners = append(listeners, s.Name+"=systemd")
	}
	return listeners
}

// hasLowPort reports whether a listener needs a capability (ip(7)).
func hasLowPort(listeners []string) bool {
	specs, err := listen.ParseSpecs(listeners)
	if err != nil {
		return false // it has been refused
	}
	for _, s := range specs {
		if !strings.HasPrefix(s.Network, "tcp") && !strings.HasPrefix(s.Network, "udp") {
			continue
		}
		_, port, _ := net.SplitHostPort(s.Address)
		if n, err := net.LookupPort(s.Network, port); err == nil && n > 0 && n < 1024 {
			return true
		}
	}
	return false
}
