package health

import "time"

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
	lines   [][]queued // beside waiting, in no order
	// listeners says at which place the listener with an inode is.
	listeners map[uint32]place
}

// look asks for everything at these ports, listeners first, as the kernel
// tells of them.
//
// It is one question for all. To list the connections without their TCP_INFO
// first and then ask for those that wait, one by one, was measured (Linux 6.18,
// medians on a busy machine): with 8,000 accepted and 50 waiting 17 instead of
// 23 ms, but 24 instead of 23 with 500 waiting, 40 instead of 27 with 2,000,
// and no less with 1,000 accepted and 50 waiting. What takes time is to be told
// of a connection at all, and the kernel has no filter for those without an
// inode. Before that it walks through the connections of the whole machine, in
// all network namespaces and in TIME_WAIT too: 3 ms for 50,000 of them.
func (q *queues) look(d *diag, ports []uint16) error {
	q.reset()
	const states = stateListen | stateEstablished | stateCloseWait
	return d.rows(inetDump(states, wantInfo, portFilter(ports)), q.take)
}

func (q *queues) reset() {
	if q.at == nil {
		q.at, q.listeners = map[place]int{}, map[uint32]place{}
	}
	clear(q.at)
	clear(q.listeners)
	q.waiting, q.lines = q.waiting[:0], q.lines[:0]
}

func (q *queues) take(r *inetRow) {
	if r.state != tcpListen {
		q.count(r)
		return
	}
	q.listeners[r.inode] = r.place
	if _, known := q.at[r.place]; !known {
		q.at[r.place] = len(q.waiting)
		q.waiting = append(q.waiting, Waiting{Known: true})
		q.lines = append(q.lines, nil)
	}
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
		q.lines[i] = append(q.lines[i], queued{r.id, age})
		return
	}
}

// lineOf returns the connections that wait for the listener with an inode, to
// be kept.
func (q *queues) lineOf(inode uint32) line {
	p, ok := q.listeners[inode]
	if !ok {
		return nil
	}
	return lineOf(q.lines[q.at[p]])
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
