package health

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// queues are the connections that wait at some ports, by the place of the
// listener that got them. The zero value is ready for use, again and again.
//
// The kernel has no list of what waits in a queue. It has all connections, and
// those that nobody has accepted have no inode yet. How long ago data was last
// sent on one of them (tcpi_last_data_sent) is then its age, because that
// clock starts when the connection is made and only who accepts it can send.
type queues struct {
	// at are the listeners' places: an index into waiting. Members of an
	// SO_REUSEPORT group have the same place.
	at      map[place]int
	waiting []Waiting
	// listeners says at which place the listener with an inode is.
	listeners map[uint32]place
	queued    []inetRow
	accepted  int // connections that nobody waits for any more

	pass func() bool
}

// look asks for everything at these ports.
func (q *queues) look(d *diag, family uint8, ports []uint16) error {
	q.reset()
	const states = stateListen | stateEstablished | stateCloseWait
	want := uint8(wantInfo)
	twice := q.pass != nil && q.pass()
	if twice {
		want = 0
	}
	if err := d.rows(dumpRequest(family, states, want, portFilter(ports)), q.take); err != nil {
		return err
	}
	if twice {
		if err := q.askAges(d); err != nil {
			return err
		}
	}
	for i := range q.queued {
		q.count(&q.queued[i])
	}
	return nil
}

func (q *queues) reset() {
	if q.at == nil {
		q.at, q.listeners = map[place]int{}, map[uint32]place{}
	}
	clear(q.at)
	clear(q.listeners)
	q.waiting, q.queued, q.accepted = q.waiting[:0], q.queued[:0], 0
}

func (q *queues) take(r *inetRow) {
	switch {
	case r.state == tcpListen:
		q.listeners[r.inode] = r.place
		if _, known := q.at[r.place]; !known {
			q.at[r.place] = len(q.waiting)
			q.waiting = append(q.waiting, Waiting{Known: true})
		}
	case r.inode == 0:
		q.queued = append(q.queued, *r)
	default:
		q.accepted++
	}
}

// askAges asks for each connection that waited when all were listed. One that
// has been accepted or has ended since is left out.
func (q *queues) askAges(d *diag) error {
	waiting := q.queued[:0]
	for i := range q.queued {
		err := d.rows(exactRequest(&q.queued[i], wantInfo), func(r *inetRow) {
			if r.inode == 0 {
				waiting = append(waiting, *r)
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	q.queued = waiting
	return nil
}

// count adds a connection to the queue of the most specific listener.
func (q *queues) count(r *inetRow) {
	if !r.hasInfo {
		return
	}
	for _, p := range r.covering() {
		i, ok := q.at[p]
		if !ok {
			continue
		}
		w, age := &q.waiting[i], time.Duration(r.lastDataSent)*time.Millisecond
		w.Oldest = max(w.Oldest, age)
		if w.Count == 0 || age < w.Youngest {
			w.Youngest = age
		}
		w.Count++
		return
	}
}

// of returns what waits for the listener with an inode. It is not known if
// there was no such listener.
func (q *queues) of(inode uint32) Waiting {
	p, ok := q.listeners[inode]
	if !ok {
		return Waiting{}
	}
	return q.waiting[q.at[p]]
}

// families returns the one family of all of them, or AF_UNSPEC.
func families(all []uint8) uint8 {
	if len(all) == 0 || slices.ContainsFunc(all, func(f uint8) bool { return f != all[0] }) {
		return unix.AF_UNSPEC
	}
	return all[0]
}
