package health

import (
	"math"
	"time"
)

// A ProgressState is what is known of how a candidate works.
type ProgressState int

const (
	// Shown: the candidate finishes what it accepts, or too few connections
	// arrive to tell, or nothing can be judged.
	Shown ProgressState = iota
	// Open: it is too early to tell.
	Open
	// Stuck: it accepts connections and finishes none.
	Stuck
)

const (
	// progressFinished connections show progress.
	progressFinished = 3
	// progressAccepted connections without one finished show that there is none.
	progressAccepted = 8
	// progressPatience is for how long the state is Open at the most.
	progressPatience = 2 * time.Second
	// progressLeast is how many connections the active generation must have
	// accepted for its durations to say anything.
	progressLeast = 20
	// progressPart of the connections are not open for longer than is typical.
	progressPart = 0.9
)

// Progress decides whether a candidate finishes what it accepts. One that
// accepts and then blocks every handler keeps its accept queue empty, so that
// the queue shows nothing.
//
// How long a connection may take is learned from the active generation: nine
// of ten that it accepted were closed within the typical time. Connections that
// are still open count as longer than all others. So where a tenth of them are
// open for long by nature, nothing is typical and nothing is judged; nor where
// the active generation does not finish what it accepts either.
//
// Not for concurrent use. Observing allocates nothing.
type Progress struct {
	interval time.Duration
	typical  time.Duration // 0 if unknown
	first    Count         // of the active generation
	before   [SojournBuckets]uint64
	reported bool

	begun    bool
	began    time.Duration
	finished uint64 // by the candidate, of its last observation
	accepted uint64 // by the candidate, when finished moved last
	many     bool   // progressAccepted were accepted since, at the latest then
	manyAt   time.Duration
}

// NewProgress returns a Progress that allows for at least three intervals.
func NewProgress(interval time.Duration) *Progress {
	return &Progress{interval: interval}
}

// Typical takes what the active generation reports, summed over listeners, as
// often as it does. It is not asked for again once the active generation has
// paused: what it closes then is no measure.
func (p *Progress) Typical(active Count) {
	if !p.reported {
		p.reported, p.first = true, active
		copy(p.before[:], active.Durations)
		p.first.Durations = nil // the caller's
	}
	p.typical = p.learn(active)
}

// learn returns the typical time: that of the generation's whole life, or of
// the time since its first report if that is longer; 0 if there is none.
func (p *Progress) learn(active Count) time.Duration {
	durations := active.Durations[:min(len(active.Durations), SojournBuckets)]
	life, known := closedWithin(durations, nil, active.Accepted)
	if !known || active.Accepted < progressLeast {
		return 0
	}
	accepted := active.Accepted - min(active.Accepted, p.first.Accepted)
	if accepted < progressLeast {
		return life
	}
	// What was closed lately is not what was accepted lately, and the figures
	// of a short time vary. So half of it will do.
	lately, known := closedWithin(durations, p.before[:], accepted/2)
	if !known {
		return 0
	}
	return max(life, lately)
}

// closedWithin returns the time within which progressPart of the accepted
// connections were closed, by the growth of a histogram; known is false if
// fewer were.
func closedWithin(now, before []uint64, accepted uint64) (d time.Duration, known bool) {
	var grown [SojournBuckets]uint64
	closed := uint64(0)
	for i, n := range now {
		if i < len(before) {
			n -= min(n, before[i])
		}
		grown[i] = n
		closed += n
	}
	part := progressPart * float64(max(accepted, closed)) / float64(closed)
	if math.IsNaN(part) || part > 1 {
		return 0, false
	}
	return Quantile(grown[:], part)
}

// Observe takes what the candidate reports, summed over listeners, each with
// the totals since its start. at does not go back. f tells of Stuck.
func (p *Progress) Observe(at time.Duration, candidate Count) (f Finding, state ProgressState) {
	if !p.begun {
		p.begun, p.began = true, at
	}
	if candidate.Finished != p.finished {
		p.finished, p.accepted, p.many = candidate.Finished, candidate.Accepted, false
	}
	since := candidate.Accepted - min(candidate.Accepted, p.accepted)
	if !p.many && since >= progressAccepted {
		p.many, p.manyAt = true, at
	}
	if p.typical == 0 {
		return Finding{}, Shown
	}
	patience := max(3*p.interval, 4*p.typical)
	if p.many && at-p.manyAt >= patience {
		return Finding{
			Reason: ReasonNoProgress, Listener: candidate.Listener,
			Accepted: since, For: at - p.manyAt, Window: patience,
		}, Stuck
	}
	patience = min(patience, progressPatience)
	early := at-p.began < patience || p.many && at-p.manyAt < patience
	if candidate.Finished < progressFinished && early {
		return Finding{}, Open
	}
	return Finding{}, Shown
}
