package queue

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// surveyTarget is how long a connection may wait before a listener that nobody
// set a target for is in trouble: CoDel's target (RFC 8289).
const surveyTarget = 5 * time.Millisecond

// A Survey is every listener of a network namespace at one moment, those in
// trouble first.
type Survey struct {
	Time      time.Time  `json:"time"`
	Listeners []Surveyed `json:"listeners"`
	// Namespace counts since the namespace was made.
	Namespace *Counters `json:"namespace,omitempty"`
}

// A Surveyed is one listener of a Survey.
type Surveyed struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Queue
	// DropsPerSecond is known from the second survey of a stream on.
	DropsPerSecond *float64 `json:"drops_per_second,omitempty"`
	Inode          uint32   `json:"inode"`
	UID            uint32   `json:"uid"`
	V6Only         bool     `json:"v6only,omitempty"`
	// GroupSize is the number of sockets that share the address (SO_REUSEPORT),
	// if more than one; then OldestSeconds is that of all of them together, and
	// GroupUniformity how evenly connections wait in them: 1 if all are alike,
	// 1/GroupSize if one has them all, nil if nothing waits.
	GroupSize       int      `json:"group_size,omitempty"`
	GroupUniformity *float64 `json:"group_uniformity,omitempty"`
	// Service and Listener are those of the supervisor that has it, if one was
	// found.
	Service  string    `json:"service,omitempty"`
	Listener string    `json:"listener,omitempty"`
	Trouble  []Trouble `json:"trouble,omitempty"`

	rawDrops uint32
}

// An Owner is a running supervisor with its listeners.
type Owner struct {
	Service   string
	Listeners []upgrade.ListenerStatus
}

// NewSurvey puts together what was found at a moment. before is the last survey
// of the same stream; it and ns may be nil.
func NewSurvey(at time.Time, found []health.NamespaceListener, owners []Owner, before *Survey, ns *health.Counters) Survey {
	s := Survey{Time: at, Listeners: make([]Surveyed, 0, len(found)), Namespace: newCounters(ns)}
	uniformity, owned, last := uniformities(found), byAddress(owners), before.byInode()
	lost, lostLately := s.Namespace.lost(nil), s.Namespace.lost(before.namespace())
	for _, f := range found {
		l := newSurveyed(f)
		if l.GroupSize > 0 {
			l.GroupUniformity = uniformity[groupOf(f)]
		}
		mine := owned[placeOf(l.Network, l.Address)]
		l.Service, l.Listener = mine.service, mine.listener
		var fresh uint64
		if was, ok := last[f.Inode]; ok && was.Address == l.Address && l.Drops != nil {
			fresh = uint64(f.Drops - was.rawDrops) // the kernel's counter wraps
			if passed := at.Sub(before.Time).Seconds(); passed > 0 {
				perSecond := float64(fresh) / passed
				l.DropsPerSecond = &perSecond
			}
		}
		l.Trouble = surveyTrouble(&l, f.Listening, lost, lost && lostLately)
		s.Listeners = append(s.Listeners, l)
	}
	s.sort()
	return s
}

func newSurveyed(f health.NamespaceListener) Surveyed {
	l := Surveyed{
		Network: f.Network, Address: f.Address, Inode: f.Inode, UID: f.UID, V6Only: f.V6Only,
		Queue: newQueue(f.Sample, true), rawDrops: f.Drops,
	}
	if f.Group > 1 {
		l.GroupSize = f.Group
	}
	if countsDrops(f.Network) {
		drops := uint64(f.Drops)
		l.Drops = &drops
	}
	switch {
	case l.Depth == nil:
	case f.Waiting.Known:
		l.OldestSeconds = seconds(f.Waiting.Oldest, true)
	case f.Depth == 0:
		l.OldestSeconds = seconds(0, true)
	}
	return l
}

// surveyTrouble judges a listener without knowing how it was before; lost and
// lostLately say whether what its counter counted can have been losses.
func surveyTrouble(l *Surveyed, listening, lost, lostLately bool) []Trouble {
	if !listening {
		return []Trouble{notListening}
	}
	all := queueTrouble(l.Queue)
	all = append(all, headTrouble(l.OldestSeconds, surveyTarget)...)
	switch {
	case lostLately && l.DropsPerSecond != nil && *l.DropsPerSecond > 0:
		all = append(all, Trouble{health.ReasonDrops, fmt.Sprintf("the kernel drops packets of clients that connect, or strays: %s a second", frequency(*l.DropsPerSecond))})
	case lost && l.Drops != nil && *l.Drops > 0:
		all = append(all, Trouble{health.ReasonDrops, fmt.Sprintf("the kernel dropped %s since it was opened, strays included", packets(*l.Drops))})
	}
	return all
}

// sort puts groups that have trouble first, then those where most waits.
func (s *Survey) sort() {
	type weight struct {
		trouble int
		depth   uint64
	}
	weights := map[[2]string]weight{}
	for _, l := range s.Listeners {
		w := weights[l.group()]
		w.trouble = max(w.trouble, l.severity())
		if l.Depth != nil {
			w.depth += uint64(*l.Depth)
		}
		weights[l.group()] = w
	}
	slices.SortStableFunc(s.Listeners, func(a, b Surveyed) int {
		x, y := weights[a.group()], weights[b.group()]
		return cmp.Or(
			cmp.Compare(y.trouble, x.trouble),
			cmp.Compare(y.depth, x.depth),
			cmp.Compare(a.Network, b.Network),
			cmp.Compare(a.Address, b.Address),
			cmp.Compare(a.Inode, b.Inode),
		)
	})
}

// severity is 2 for trouble that there is now, 1 for drops in the past only.
func (l *Surveyed) severity() int {
	for _, t := range l.Trouble {
		if t.Reason != health.ReasonDrops || l.DropsPerSecond != nil && *l.DropsPerSecond > 0 {
			return 2
		}
	}
	return min(len(l.Trouble), 1)
}

func (l *Surveyed) group() [2]string { return [2]string{l.Network, l.Address} }

func groupOf(f health.NamespaceListener) [2]string { return [2]string{f.Network, f.Address} }

// uniformities are those of the groups in which something waits.
func uniformities(found []health.NamespaceListener) map[[2]string]*float64 {
	depths := map[[2]string][]uint64{}
	for _, f := range found {
		if f.Group > 1 {
			depths[groupOf(f)] = append(depths[groupOf(f)], uint64(f.Depth))
		}
	}
	all := map[[2]string]*float64{}
	for group, d := range depths {
		if slices.Max(d) > 0 {
			u := health.Uniformity(d)
			all[group] = &u
		}
	}
	return all
}

// lost says whether anything can have been dropped in a namespace for want of
// room, since it was made or since before: without that whatever the counter of
// a listener counted was strays.
func (c *Counters) lost(before *Counters) bool {
	switch {
	case c == nil:
		return true
	case before == nil:
		return c.ListenDrops > 0
	}
	return c.ListenDrops != before.ListenDrops
}

func (s *Survey) namespace() *Counters {
	if s == nil {
		return nil
	}
	return s.Namespace
}

func (s *Survey) byInode() map[uint32]Surveyed {
	all := map[uint32]Surveyed{}
	if s != nil {
		for _, l := range s.Listeners {
			all[l.Inode] = l
		}
	}
	return all
}

// owned is a listener of a supervisor.
type owned struct{ service, listener string }

func byAddress(owners []Owner) map[string]owned {
	all := map[string]owned{}
	for _, o := range owners {
		for _, l := range o.Listeners {
			all[placeOf(l.Network, l.Address)] = owned{o.Service, l.Name}
		}
	}
	return all
}

// placeOf is the same for the same place, however it is written: tcp4 or tcp,
// an IPv4 address mapped into IPv6 or not.
func placeOf(network, address string) string {
	if strings.HasPrefix(network, "unix") {
		return network + " " + address
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return network + " " + address
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String() + strings.TrimRight(network, "46")
}
