package fdpass

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func describe(l Listener) (Listener, error) {
	domain, err := l.option(unix.SO_DOMAIN)
	if err != nil {
		return l, err
	}
	typ, err := l.option(unix.SO_TYPE)
	if err != nil {
		return l, err
	}
	if l.Network, err = l.network(domain, typ); err != nil {
		return l, err
	}
	if l.Address, err = l.address(); err != nil {
		return l, err
	}
	if l.Cookie, err = l.cookie(); err != nil {
		return l, err
	}
	return l, l.listens()
}

// verify also gives the cookie of the socket that the descriptor really is.
func (l Listener) verify() (Cookie, error) {
	got, err := l.cookie()
	if err != nil {
		return 0, err
	}
	if got != l.Cookie {
		return got, fmt.Errorf("%w: it is socket %d instead of %d", ErrCookie, got, l.Cookie)
	}
	return got, l.listens()
}

func (l Listener) restore() error {
	err := unix.SetsockoptInt(l.FD, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: there is none
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(l.FD, true))
}

// option reads one integer of getsockopt(2) at level SOL_SOCKET.
func (l Listener) option(name int) (int, error) {
	value, err := unix.GetsockoptInt(l.FD, unix.SOL_SOCKET, name)
	return value, os.NewSyscallError("getsockopt", err)
}

func (l Listener) cookie() (Cookie, error) {
	value, err := unix.GetsockoptUint64(l.FD, unix.SOL_SOCKET, unix.SO_COOKIE)
	return Cookie(value), os.NewSyscallError("getsockopt", err)
}

func (l Listener) listens() error {
	if !l.isStream() {
		return nil
	}
	listening, err := l.option(unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listening == 0 {
		return errors.New("the socket does not listen")
	}
	return nil
}

func (l Listener) network(domain, typ int) (string, error) {
	switch domain {
	case unix.AF_UNIX:
		switch typ {
		case unix.SOCK_STREAM:
			return "unix", nil
		case unix.SOCK_SEQPACKET:
			return "unixpacket", nil
		case unix.SOCK_DGRAM:
			return "unixgram", nil
		}
	case unix.AF_INET, unix.AF_INET6:
		return l.internetNetwork(domain)
	}
	return "", fmt.Errorf("sockets of family %d and type %d are not supported", domain, typ)
}

func (l Listener) internetNetwork(domain int) (string, error) {
	protocol, err := l.option(unix.SO_PROTOCOL)
	if err != nil {
		return "", err
	}
	var network string
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_MPTCP:
		network = "tcp"
	case unix.IPPROTO_UDP:
		network = "udp"
	default:
		return "", fmt.Errorf("internet protocol %d is not supported", protocol)
	}
	if domain == unix.AF_INET {
		return network + "4", nil
	}
	only, err := unix.GetsockoptInt(l.FD, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if only != 0 {
		network += "6"
	}
	return network, nil
}

func (l Listener) address() (string, error) {
	sa, err := unix.Getsockname(l.FD)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	var bound netip.AddrPort
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		if sa.Name == "" || sa.Name == "@" { // x/sys takes no name for an abstract one
			return "", errors.New("the socket is not bound")
		}
		return strings.ToValidUTF8(sa.Name, "\uFFFD"), nil
	case *unix.SockaddrInet4:
		bound = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		bound = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).WithZone(zone(sa.ZoneId)), uint16(sa.Port))
	default:
		return "", fmt.Errorf("its address is a %T", sa)
	}
	if bound.Port() == 0 {
		return "", errors.New("the socket is not bound")
	}
	return bound.String(), nil
}

// zone is the name of the interface of a link-local address.
func zone(id uint32) string {
	if id == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}
