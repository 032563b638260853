package health

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// lineLength is how many of the connections that wait in one queue are
// remembered: the oldest.
const lineLength = 4096

// A line are connections that waited in one queue when somebody looked, oldest
// first. They leave it in that order, so that it tells for a while, at the price
// of a few questions about single connections, how old the head is. To look
// into the queue anew is a question about all connections of the service.
type line []queued

// queued is one of them.
type queued struct {
	id  connectionID
	age time.Duration // when it was looked at
}

// lineOf puts connections in order.
func lineOf(all []queued) line {
	slices.SortStableFunc(all, func(a, b queued) int { return cmp.Compare(b.age, a.age) })
	return all[:min(len(all), lineLength)]
}

// advance leaves out of the line those at its front that do not wait any more,
// as ask tells of single ones, and returns the age of the first that does; ok
// is false if none does. It asks about one connection if the head still waits,
// and otherwise of as many as the length of what has left has binary digits,
// twice. One that died in the queue counts as one that has left, and the order
// of those of the same age is not known, so that the head may be older than this
// tells: by no more than a jiffy in the latter case.
func (l line) advance(ask func(connectionID) (age time.Duration, waits bool)) (rest line, age time.Duration, ok bool) {
	waits := func(i int) bool {
		found, still := ask(l[i].id)
		if still {
			age = found
		}
		return still
	}
	gone, step := 0, 1 // all before gone have left
	for gone < len(l) {
		next := min(gone+step, len(l)) - 1
		if !waits(next) {
			gone, step = next+1, 2*step
			continue
		}
		first := gone + sort.Search(next-gone, func(i int) bool { return waits(gone + i) })
		if first < next { // the age is of the last that was asked about, which may be another
			age, ok = ask(l[first].id)
			if !ok {
				return l[first+1:], 0, false
			}
		}
		return l[first:], age, true
	}
	return nil, 0, false
}
