package health

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// A NamespaceListener is a listener of the network namespace, whoever has it.
type NamespaceListener struct {
	// Network is tcp (MPTCP too), unix or unixpacket, Address as package net
	// writes it: a Unix socket's is a path, begins with @ if it is abstract, and
	// is empty if it has none.
	Network, Address string
	Sample
	// Inode is the socket's number in /proc/PID/fd, UID its owner.
	Inode, UID uint32
	// V6Only: an IPv6 listener that takes no IPv4.
	V6Only bool
	// Group is the number of listeners that share the address (SO_REUSEPORT).
	Group int
	// Waiting is that of the whole group. It is Known of TCP listeners if the
	// queues could be looked into; where Depth is 0 nothing waits.
	Waiting Waiting
}

// NamespaceListeners returns every listener of the calling thread's network
// namespace, TCP before Unix, each in the order of the kernel's tables. It
// needs no privilege.
func NamespaceListeners() ([]NamespaceListener, error) {
	d, err := dialDiag()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	tcp, err := d.tcpListeners()
	if err != nil {
		return nil, err
	}
	all := tcp
	err = d.unixRows(unixRequestFor(0, stateListen, unixShowName|unixShowRqlen|unixShowUID), func(r *unixRow) {
		all = append(all, r.listener())
	})
	return all, err
}

// tcpListeners lists the TCP listeners, and looks into the queues that are not
// empty.
func (d *diag) tcpListeners() ([]NamespaceListener, error) {
	var all []NamespaceListener
	var places []place
	group := map[place]int{}
	var ports []uint16
	err := d.rows(inetDump(stateListen, wantSkmeminfo, nil), func(r *inetRow) {
		all, places = append(all, r.listener()), append(places, r.place)
		group[r.place]++
		if r.rqueue > 0 {
			ports = append(ports, r.port)
		}
	})
	if err != nil {
		return nil, err
	}
	var inside queues
	if len(ports) > 0 {
		if err := inside.look(d, ports); err != nil {
			return nil, err
		}
	}
	for i := range all {
		l := &all[i]
		l.Group = group[places[i]]
		l.Waiting = Waiting{Known: true}
		if l.Depth > 0 {
			l.Waiting = inside.of(l.Inode)
		}
	}
	return all, nil
}

func (r *inetRow) listener() NamespaceListener {
	return NamespaceListener{
		Network: "tcp",
		Address: netip.AddrPortFrom(r.address(), r.port).String(),
		Sample:  Sample{Depth: r.rqueue, Limit: r.wqueue, Drops: r.drops, Listening: true},
		Inode:   r.inode, UID: r.uid, V6Only: r.v6only,
	}
}

func (p place) address() netip.Addr {
	if p.family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(p.addr[:4]))
	}
	return netip.AddrFrom16(p.addr)
}

func (r *unixRow) listener() NamespaceListener {
	l := NamespaceListener{Network: "unix", Address: r.name, Sample: r.sample(), Inode: r.inode, UID: r.uid, Group: 1}
	if r.typ == unix.SOCK_SEQPACKET {
		l.Network = "unixpacket"
	}
	if rest, abstract := strings.CutPrefix(r.name, "\x00"); abstract {
		l.Address = "@" + rest
	}
	return l
}
