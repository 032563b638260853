package upgrade

import (
	"cmp"
	"slices"
	"time"

	"example.com/supervisor/fdpass"
)

// fresh is how old a count of open connections may be that is taken for what was
// open when the process ended. A child tells of each listener once a second at least.
const fresh = 1500 * time.Millisecond

// figures are what a generation last said of its listeners.
type figures struct {
	// activeOnly: it knows no more than which connections are open.
	activeOnly bool
	of         map[string]ListenerStats
	at         time.Time // when it said something last
}

// set keeps the figures of the listeners that m names, as far as index has them: a
// child may make names up, and one with very many tells in several messages.
func (f *figures) set(m fdpass.Stats, index map[string]int, now time.Time) {
	f.at = now
	for _, l := range m.Listeners {
		if _, ok := index[l.Name]; !ok {
			continue
		}
		if f.activeOnly && l.Unknown {
			delete(f.of, l.Name)
			continue
		}
		s := ListenerStats{Name: l.Name, Active: l.Active, OldestSeconds: float64(l.OldestMS) / 1000}
		if !f.activeOnly {
			s.Accepted = &l.Accepted
		}
		f.put(s)
	}
}

func (f *figures) put(s ListenerStats) {
	if f.of == nil {
		f.of = map[string]ListenerStats{}
	}
	f.of[s.Name] = s
}

// restore takes what another supervisor was told.
func (f *figures) restore(all []ListenerStats, index map[string]int) {
	for _, s := range all {
		if _, ok := index[s.Name]; ok {
			f.put(s)
		}
	}
}

// reported are the figures in the order of the listeners.
func (f *figures) reported(index map[string]int) []ListenerStats {
	var all []ListenerStats
	for _, s := range f.of {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b ListenerStats) int { return cmp.Compare(index[a.Name], index[b.Name]) })
	return all
}

// sums adds up what is known. Of a generation that reports that is what it has said;
// where connections are counted from outside, one listener that cannot be looked at
// leaves the sum unknown.
func (f *figures) sums(reports bool, listeners int) (accepted *uint64, active *int64) {
	switch {
	case reports:
		accepted, active = new(uint64), new(int64)
	case f.activeOnly && len(f.of) == listeners:
		active = new(int64)
	default:
		return nil, nil
	}
	for _, s := range f.of {
		if accepted != nil && s.Accepted != nil {
			*accepted += *s.Accepted
		}
		*active += s.Active
	}
	return accepted, active
}

// left is how many connections were open when the process ended, if that was counted
// from outside just before: who reports itself says what it cut, or cannot tell.
func (f *figures) left(listeners int, now time.Time) (n int, known bool) {
	_, active := f.sums(false, listeners)
	if active == nil || now.Sub(f.at) > fresh {
		return 0, false
	}
	return int(*active), true
}
