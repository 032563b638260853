// Package listen opens the sockets of a service from short descriptions such
// as "http=tcp://127.0.0.1:8080".
//
// It guarantees that a socket is either opened exactly as described or not at
// all: an address that another process uses, a path that is not a socket, an
// option that does not apply are errors that say what to do next. Sockets are
// handed out as raw descriptors that no event loop of this process watches, so
// that holding one costs nothing while another process accepts from it.
//
// A socket keeps its name and its address through its whole life; nothing here
// sets SO_REUSEPORT, because a second queue on the same address loses the
// connections that wait in it when it is closed.
package listen

import (
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxName is the length of the longest name, in bytes: what systemd allows
	// for the name of a descriptor (sd_listen_fds(3)).
	maxName = 255
	// maxPath is the length of the longest path of a Unix socket, in bytes:
	// sun_path without its terminating NUL (unix(7)).
	maxPath = 107
	// maxAbstract is the same for an abstract name, with its leading "@".
	maxAbstract = 108
	// given is the network of a socket that the service manager passes.
	given = "systemd"
	// maxBacklog is the largest argument of listen(2).
	maxBacklog = 1<<31 - 1
)

// networks are the networks of package net that a Spec may name.
func networks() []string {
	return []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixpacket", "unixgram"}
}

// A Spec describes one socket. It is a plain value; the zero value of Backlog
// and Mode is the usual choice.
type Spec struct {
	// Name identifies the socket in its service: 1 to 255 letters, digits and
	// any of "._-".
	Name string
	// Network is tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixpacket or
	// unixgram, or "systemd" for a socket that the service manager passes under
	// that name (systemd.socket(5), FileDescriptorName=); such a Spec has no more
	// than a name. As in package net, tcp and udp on an unspecified address take
	// IPv6 and IPv4, tcp6 and udp6 IPv6 only.
	Network string
	// Address is host:port (port 0: any free one), the absolute path of a Unix
	// socket, or an abstract Unix name that begins with "@".
	Address string
	// Backlog is the second argument of listen(2), in connections. The kernel
	// lowers it to net.core.somaxconn of the moment and then holds one more. 0
	// means as many as the kernel allows. For streams only.
	Backlog int
	// Mode is the exact permission of a Unix socket's file, whatever the
	// umask. 0 leaves it to the umask. For paths only.
	Mode fs.FileMode
}

// ParseSpec reads NAME=NETWORK://ADDRESS[?backlog=N][&mode=OCTAL], or
// NAME=systemd. In a Unix
// path or name %XX stands for one byte, so that "?" and "%" can be written.
func ParseSpec(s string) (Spec, error) {
	spec, err := parse(s)
	if err == nil {
		err = spec.Validate()
	}
	if err != nil {
		return Spec{}, fmt.Errorf("cannot use listener %q: %w", s, err)
	}
	return spec, nil
}

func parse(s string) (Spec, error) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || strings.Contains(name, "://") {
		return Spec{}, fmt.Errorf("it has no name; write it as NAME=NETWORK://ADDRESS, for example http=tcp://127.0.0.1:8080")
	}
	if rest == given {
		return Spec{Name: name, Network: given}, nil
	}
	network, rest, ok := strings.Cut(rest, "://")
	if !ok {
		return Spec{}, fmt.Errorf("it has no network; write it as NAME=NETWORK://ADDRESS, for example http=tcp://127.0.0.1:8080")
	}
	address, query, _ := strings.Cut(rest, "?")
	spec := Spec{Name: name, Network: network, Address: address}
	if spec.isUnix() {
		var err error
		if spec.Address, err = url.PathUnescape(address); err != nil {
			return Spec{}, fmt.Errorf("its path: %w; write %% as %%25 and ? as %%3F", err)
		}
	}
	return spec, spec.parseQuery(query)
}

func (s *Spec) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("its options: %w", err)
	}
	for key, value := range values {
		if len(value) != 1 {
			return fmt.Errorf("option %s is given %d times", key, len(value))
		}
		switch key {
		case "backlog":
			err = s.parseBacklog(value[0])
		case "mode":
			err = s.parseMode(value[0])
		default:
			err = fmt.Errorf("unknown option %q; known are backlog and mode", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) parseBacklog(value string) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 {
		return fmt.Errorf("backlog %q is not a number from 1 to %d; leave it out for the system's maximum", value, maxBacklog)
	}
	s.Backlog = int(n)
	return nil
}

func (s *Spec) parseMode(value string) error {
	mode, err := strconv.ParseUint(value, 8, 32)
	if err != nil || mode == 0 || mode > 0o777 {
		return fmt.Errorf("mode %q is not an octal number from 1 to 777, for example 0660", value)
	}
	s.Mode = fs.FileMode(mode)
	return nil
}

// ParseSpecs parses all of list. Besides the errors of ParseSpec it reports a
// name or an address that is given twice.
func ParseSpecs(list []string) ([]Spec, error) {
	specs := make([]Spec, 0, len(list))
	for _, s := range list {
		spec, err := ParseSpec(s)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	if err := checkDistinct(specs); err != nil {
		return nil, err
	}
	return specs, nil
}

// checkDistinct reports two specs with the same name or the same address.
func checkDistinct(specs []Spec) error {
	names, addresses := map[string]bool{}, map[string]Spec{}
	for _, s := range specs {
		if names[s.Name] {
			return fmt.Errorf("cannot use listener name %q twice; give each listener its own", s.Name)
		}
		names[s.Name] = true
		key := s.addressKey()
		if key == "" {
			continue
		}
		if other, ok := addresses[key]; ok {
			return fmt.Errorf("cannot open %s for both listeners %q and %q; one socket can have several users, but only one name",
				s.URL(), other.Name, s.Name)
		}
		addresses[key] = s
	}
	return nil
}

// addressKey is equal for specs that would bind the same address, and empty
// for one that gets an address of its own (port 0).
func (s Spec) addressKey() string {
	if s.Given() {
		return ""
	}
	if s.isUnix() {
		if s.isPath() {
			return filepath.Clean(s.Address)
		}
		// The kernel keeps abstract names apart by socket type.
		return s.Network + s.Address
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return ""
	}
	number, err := strconv.Atoi(port)
	if err != nil || number == 0 {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	family := s.Network[3:]
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		family = "" // the address says it
	}
	return fmt.Sprintf("%s%s %s %d", s.Network[:3], family, strings.ToLower(host), number)
}

// Validate reports what in s cannot be used. Open calls it.
func (s Spec) Validate() error {
	return cmp.Or(s.checkName(), s.checkNetwork(), s.checkBacklog(), s.checkMode())
}

func (s Spec) checkName() error {
	if s.Name == "" {
		return fmt.Errorf("the name is empty")
	}
	if len(s.Name) > maxName {
		return fmt.Errorf("the name is %d bytes long; at most %d are allowed", len(s.Name), maxName)
	}
	for _, c := range []byte(s.Name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("._-", rune(c)) {
			return fmt.Errorf("the name %q has a character other than letters, digits, '.', '_' and '-'", s.Name)
		}
	}
	return nil
}

func (s Spec) checkNetwork() error {
	if s.Given() && s.Address == "" {
		return nil
	}
	if !slices.Contains(networks(), s.Network) {
		return fmt.Errorf("unknown network %q; known are %s", s.Network, strings.Join(networks(), ", "))
	}
	if s.isUnix() {
		return s.checkUnix()
	}
	return s.checkHostPort()
}

func (s Spec) checkHostPort() error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return fmt.Errorf("the address %q is not HOST:PORT (an IPv6 address goes in brackets)", s.Address)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/?&=#", r) }) {
		return fmt.Errorf("the host %q of the address is not a host name or an IP address", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("the port %q is not a number from 0 to 65535", port)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	if strings.HasSuffix(s.Network, "4") && !ip.Unmap().Is4() || strings.HasSuffix(s.Network, "6") && !ip.Is6() {
		return fmt.Errorf("the address %s does not belong to network %s", host, s.Network)
	}
	return nil
}

func (s Spec) checkUnix() error {
	switch {
	case s.Address == "":
		return fmt.Errorf("the path is empty")
	case s.Address == "@":
		return fmt.Errorf("the abstract name is empty; write at least one character after @")
	case strings.ContainsRune(s.Address, 0):
		return fmt.Errorf("the path contains a NUL byte")
	case s.Address[0] == '@' && len(s.Address) > maxAbstract:
		return fmt.Errorf("the abstract name is %d bytes long; a Unix socket's is at most %d", len(s.Address)-1, maxAbstract-1)
	case s.Address[0] == '@':
		return nil
	case s.Address[0] != '/':
		return fmt.Errorf("the path %q is not absolute; write it with three slashes, as in unix:///run/x.sock, or @NAME for an abstract name", s.Address)
	case len(s.Address) > maxPath:
		return fmt.Errorf("the path is %d bytes long; a Unix socket's is at most %d; use a shorter directory", len(s.Address), maxPath)
	case s.Address[len(s.Address)-1] == '/':
		return fmt.Errorf("the path %q names a directory", s.Address)
	}
	return nil
}

func (s Spec) checkBacklog() error {
	if s.Backlog < 0 || s.Backlog > maxBacklog {
		return fmt.Errorf("the backlog %d is not from 0 to %d", s.Backlog, maxBacklog)
	}
	if s.Backlog > 0 && !s.isStream() {
		return fmt.Errorf("a %s socket has no backlog; leave the option out", s.Network)
	}
	return nil
}

func (s Spec) checkMode() error {
	if s.Mode&^fs.ModePerm != 0 {
		return fmt.Errorf("the mode %o has more than permission bits", uint32(s.Mode))
	}
	if s.Mode != 0 && !s.isPath() {
		return fmt.Errorf("mode applies only to the path of a Unix socket")
	}
	return nil
}

// Given reports whether the service manager passes the socket.
func (s Spec) Given() bool { return s.Network == given }

// isStream reports whether the socket listens for connections.
func (s Spec) isStream() bool {
	return s.Network == "unix" || s.Network == "unixpacket" || strings.HasPrefix(s.Network, "tcp")
}

func (s Spec) isUnix() bool { return strings.HasPrefix(s.Network, "unix") }

// isPath reports whether the socket has a file.
func (s Spec) isPath() bool { return s.isUnix() && !strings.HasPrefix(s.Address, "@") }

// URL returns the network and the address as they are written in a spec.
func (s Spec) URL() string {
	if s.Given() {
		return given
	}
	address := s.Address
	if s.isUnix() {
		address = escapePath(address)
	}
	return s.Network + "://" + address
}

// String returns s as ParseSpec reads it.
func (s Spec) String() string {
	text := s.Name + "=" + s.URL()
	separator := "?"
	if s.Backlog != 0 {
		text += separator + "backlog=" + strconv.Itoa(s.Backlog)
		separator = "&"
	}
	if s.Mode != 0 {
		text += fmt.Sprintf("%smode=%04o", separator, uint32(s.Mode))
	}
	return text
}

// escapePath writes as %XX what ParseSpec would take for something else, and
// what a terminal might.
func escapePath(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '%' || c == '?' || c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
