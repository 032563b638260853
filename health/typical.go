package health

import (
	"math"
	"time"
)

// A measure is what a candidate is held to: that part of what the active
// generation accepted was closed within that time.
type measure struct {
	part float64
	// accepted is how many connections show that a candidate is otherwise if
	// none of them is finished: of so many that finish by chance, each with
	// the probability part, none does once in 10^8 times.
	accepted uint64
	within   time.Duration // 0: not known
}

// measures are those to choose from, the best one first. Of more connections
// than half nothing can be said by chance: long ones come in swarms.
func measures() [5]measure {
	return [...]measure{
		{part: 0.9, accepted: progressAccepted},
		{part: 0.8, accepted: 12},
		{part: 0.7, accepted: 16},
		{part: 0.6, accepted: 21},
		{part: 0.5, accepted: 27},
	}
}

// rounds is how many intervals it takes to count the connections.
func (m measure) rounds() time.Duration {
	return time.Duration(m.accepted+progressAccepted-1) / progressAccepted
}

// patience is for how long none may be finished once so many were accepted:
// three intervals, and one more for each further one that it took to count them.
func (m measure) patience(interval time.Duration) time.Duration {
	return max((2+m.rounds())*interval, 4*m.within)
}

// typical learns from the active generation how long connections are open.
type typical struct {
	first    Count // its first report
	before   [SojournBuckets]uint64
	reported bool
}

// begin takes the first report.
func (t *typical) begin(active Count) {
	if t.reported {
		return
	}
	t.reported, t.first = true, active
	copy(t.before[:], active.Durations)
	t.first.Durations = nil // the caller's
}

// choose returns the measure of the largest part for which a candidate is judged
// within progressPatience; if there is none, the one that takes the least time.
// Its time is 0 if not even half of the connections are known to be closed.
func (t *typical) choose(active Count, interval time.Duration) measure {
	best := unknown()
	for _, m := range measures() {
		m.within = t.learn(active, m)
		if m.within == 0 {
			continue
		}
		if best.within == 0 || m.patience(interval) < best.patience(interval) {
			best = m
		}
		if best.patience(interval) <= progressPatience {
			break
		}
	}
	return best
}

// unknown is the measure by which nothing is judged.
func unknown() measure { return measure{accepted: progressAccepted} }

// learn returns the time of a measure: that of the generation's whole life, or of
// the time since its first report if that is longer; 0 if there is none. The
// more connections of a candidate decide, the more of the active one they must
// rest on.
func (t *typical) learn(active Count, m measure) time.Duration {
	durations := active.Durations[:min(len(active.Durations), SojournBuckets)]
	life, known := closedWithin(durations, nil, active.Accepted, m.part)
	if !known || active.Accepted < progressLeast*m.accepted/progressAccepted {
		return 0
	}
	accepted := active.Accepted - min(active.Accepted, t.first.Accepted)
	if accepted < progressLeast {
		return life
	}
	// What was closed lately is not what was accepted lately, and the figures
	// of a short time vary. So half of it will do.
	lately, known := closedWithin(durations, t.before[:], accepted/2, m.part)
	if !known {
		return 0
	}
	return max(life, lately)
}

// closedWithin returns the time within which that part of the accepted
// connections was closed, by the growth of a histogram; known is false if
// fewer were. Those that are open still count as longer than all others.
func closedWithin(now, before []uint64, accepted uint64, part float64) (d time.Duration, known bool) {
	var grown [SojournBuckets]uint64
	closed := uint64(0)
	for i, n := range now {
		if i < len(before) {
			n -= min(n, before[i])
		}
		grown[i] = n
		closed += n
	}
	ofClosed := part * float64(max(accepted, closed)) / float64(closed)
	if math.IsNaN(ofClosed) || ofClosed > 1 {
		return 0, false
	}
	return Quantile(grown[:], ofClosed)
}
