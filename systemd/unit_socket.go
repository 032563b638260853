package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Socket is one listener that systemd opens, as a socket unit of its own:
// FileDescriptorName= holds for all sockets of a unit.
type Socket struct {
	// Name is that of the listener.
	Name string
	// Listen is how the unit says the kind of socket: ListenStream,
	// ListenDatagram or ListenSequentialPacket.
	Listen string
	// Address is as in systemd.socket(5), without any escaping.
	Address string
	// Backlog is the second argument of listen(2); 0 is as much as the kernel
	// allows.
	Backlog int
	// Mode is that of the file of a Unix socket. 0 lets only the service's own
	// user connect.
	Mode fs.FileMode
	// V6Only keeps IPv4 away from an IPv6 address.
	V6Only bool
}

// socketName is the file name of the i-th socket unit: the first is called like
// the service, so that the two find each other.
func (u Unit) socketName(i int) string {
	if i == 0 {
		return u.fileName(".socket")
	}
	if u.Template {
		return u.Name + "-" + u.Sockets[i].Name + "@.socket"
	}
	return u.Name + "-" + u.Sockets[i].Name + ".socket"
}

func (u Unit) socketNames() []string {
	var names []string
	for i := range u.Sockets {
		names = append(names, u.socketName(i))
	}
	return names
}

// socket is the text of a socket unit.
func (u Unit) socket(s Socket) (string, error) {
	if !unitName.MatchString(s.Name) {
		return "", fmt.Errorf("%q cannot be its name; use letters, digits and any of \"._-\", beginning with a letter or digit", s.Name)
	}
	address, err := u.address(s.Address)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	u.origin(&b)
	fmt.Fprintf(&b, `[Unit]
Description=Listener %s of %s

[Socket]
%s=%s
FileDescriptorName=%s
Service=%s
`, s.Name, u.instance(), s.Listen, address, s.Name, u.unit(".service"))
	if s.V6Only {
		b.WriteString("BindIPv6Only=ipv6-only\n")
	}
	if s.Listen != "ListenDatagram" {
		fmt.Fprintf(&b, "%s", backlog(s.Backlog))
	}
	if strings.HasPrefix(s.Address, "/") {
		u.file(&b, s.Mode)
	}
	b.WriteString(`# One queue for all generations: a second one would be reset when it is closed.
ReusePort=no
# A service that cannot start must not cost the socket its life at once.
TriggerLimitIntervalSec=2s
TriggerLimitBurst=200

[Install]
WantedBy=sockets.target
`)
	return b.String(), nil
}

func backlog(n int) string {
	if n > 0 {
		return fmt.Sprintf("Backlog=%d\n", n)
	}
	return "# As much as the kernel allows: net.core.somaxconn.\nBacklog=65535\n"
}

// file says who may connect to a Unix socket's file, and that it goes with the
// unit.
func (u Unit) file(b *strings.Builder, mode fs.FileMode) {
	if mode == 0 {
		mode = 0o600
	}
	fmt.Fprintf(b, "SocketUser=%s\nSocketMode=%04o\nRemoveOnStop=yes\n", u.literal(u.User), mode.Perm())
}

// address escapes the value of a Listen line, which knows no quotes: only
// specifiers, spaces around it and a backslash at its end mean something
// (config_parse_socket_listen in src/core/load-fragment.c of systemd).
func (u Unit) address(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("it has no address")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, isNoncharacter):
		return "", fmt.Errorf("its address %q is not UTF-8, which a unit must be", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", fmt.Errorf("its address %q has a control character, which a unit cannot say; choose another path", s)
	case strings.TrimSpace(s) != s:
		return "", fmt.Errorf("its address %q begins or ends with a space, which a unit cannot say; choose another path", s)
	case strings.HasSuffix(s, `\`):
		return "", fmt.Errorf("its address %q ends with a backslash, which a unit cannot say; choose another path", s)
	}
	return u.literal(s), nil
}
