package queue

import (
	"fmt"
	"time"
)

// At is when the snapshot was made.
func (s Snapshot) At() time.Time { return s.Time }

func (s Snapshot) title() string {
	return fmt.Sprintf("service %s, %s", printable(s.Service), clock(s.Time))
}

func (s Snapshot) table() table {
	t := table{columns: []column{
		{title: "LISTENER", left: true, least: 8},
		{title: "DEPTH", least: 5},
		{title: "LIMIT", rank: 1, least: 5},
		{title: "FILL", least: 4},
		{title: "OLDEST", rank: 2, least: 6},
		{title: "P99", rank: 5, least: 7},
		{title: "DROPS", rank: 3, least: 6},
		{title: "DROPS/S", rank: 7, least: 7},
		{title: "ARR/S", rank: 4, least: 6},
		{title: "HEADROOM", rank: 6, least: 8},
	}}
	for _, l := range s.Listeners {
		t.rows = append(t.rows, row{
			key: l.Name, depth: deepest(l), trouble: l.Trouble, notes: listenerNotes(l),
			cells: []string{
				printable(l.Name), cell(l.Depth, count32), cell(l.Limit, count32), cell(l.Fill, percent),
				cell(l.OldestSeconds, span), cell(l.P99Seconds, below), cell(l.Drops, amount),
				cell(l.DropsPerSecond, frequency), cell(l.ArrivalsPerSecond, frequency), cell(l.HeadroomSeconds, span),
			},
		})
	}
	return t
}

// deepest is what the history shows of a listener.
func deepest(l Listener) *uint32 {
	if l.MaxDepth != nil {
		return l.MaxDepth
	}
	return l.Depth
}

func listenerNotes(l Listener) []string {
	var notes []string
	if l.Network != "" {
		notes = append(notes, printable(l.Network+" "+l.Address))
	}
	if l.Off {
		notes = append(notes, "no decision looks at it (queue off)")
	}
	if l.FullInSeconds != nil {
		notes = append(notes, "grows: full in "+span(*l.FullInSeconds))
	}
	for _, g := range l.Generations {
		notes = append(notes, fmt.Sprintf("generation %d: %s accepts/s, %d accepted, %d open",
			g.Generation, cell(g.AcceptsPerSecond, frequency), g.Accepted, g.Active))
	}
	return notes
}

func (s Snapshot) foot() []string {
	if s.Namespace == nil {
		return nil
	}
	return append([]string{
		"network namespace since the supervisor's start: all its programs together,",
		"so none of it can be said to be of this service",
	}, s.Namespace.lines()...)
}

func (c Counters) lines() []string {
	return []string{
		fmt.Sprintf("  ListenOverflows %s, ListenDrops %s, connections taken %s",
			amount(c.ListenOverflows), amount(c.ListenDrops), amount(c.ConnectionsTaken)),
		fmt.Sprintf("  SYN cookies sent %s, came back %s, failed %s",
			amount(c.CookiesSent), amount(c.CookiesReceived), amount(c.CookiesFailed)),
		fmt.Sprintf("  SYN queue full: dropped %s, answered by cookie %s",
			amount(c.SYNQueueDrops), amount(c.SYNQueueCookies)),
	}
}

// At is when the survey was made.
func (s Survey) At() time.Time { return s.Time }

func (s Survey) title() string {
	troubled := 0
	for i := range s.Listeners {
		if len(s.Listeners[i].Trouble) > 0 {
			troubled++
		}
	}
	return fmt.Sprintf("%d listeners in this network namespace, %d in trouble, %s", len(s.Listeners), troubled, clock(s.Time))
}

func (s Survey) table() table {
	t := table{columns: []column{
		{title: "ADDRESS", left: true, least: 24},
		{title: "DEPTH", least: 5},
		{title: "LIMIT", rank: 1, least: 5},
		{title: "FILL", least: 4},
		{title: "OLDEST", rank: 2, least: 6},
		{title: "DROPS", rank: 3, least: 6},
		{title: "DROPS/S", rank: 6, least: 7},
		{title: "UID", rank: 5, least: 5},
		{title: "SERVICE", rank: 4, left: true, least: 8},
	}}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		t.rows = append(t.rows, row{
			key: fmt.Sprint(l.Inode), depth: l.Depth, trouble: l.Trouble, notes: s.groupNote(i),
			cells: []string{
				printable(l.Network + " " + l.Address), cell(l.Depth, count32), cell(l.Limit, count32),
				cell(l.Fill, percent), cell(l.OldestSeconds, span), cell(l.Drops, amount),
				cell(l.DropsPerSecond, frequency), fmt.Sprint(l.UID), l.owner(),
			},
		})
	}
	return t
}

func (l *Surveyed) owner() string {
	if l.Service == "" {
		return unknown
	}
	return printable(l.Service + "/" + l.Listener)
}

// groupNote is what is said below the last socket of a group.
func (s Survey) groupNote(i int) []string {
	l := &s.Listeners[i]
	if l.GroupSize == 0 || i+1 < len(s.Listeners) && s.Listeners[i+1].group() == l.group() {
		return nil
	}
	note := fmt.Sprintf("%d sockets share %s (SO_REUSEPORT)", l.GroupSize, printable(l.Address))
	if l.GroupUniformity == nil {
		return []string{note}
	}
	return []string{note + fmt.Sprintf("; uniformity of their queues %.2f (1: all alike, %.2f: one has all)",
		*l.GroupUniformity, 1/float64(l.GroupSize))}
}

func (s Survey) foot() []string {
	if s.Namespace == nil {
		return nil
	}
	return append([]string{"network namespace since it was made, all listeners together"}, s.Namespace.lines()...)
}
