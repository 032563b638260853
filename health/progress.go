package health

import "time"

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
	// progressAccepted connections without one finished show that there is none,
	// where nine of ten are typical; where fewer are, see measures. So many are
	// counted of one interval at the most.
	progressAccepted = 8
	// progressPatience is for how long the state is Open at the most.
	progressPatience = 2 * time.Second
	// progressLeast is how many connections the active generation must have
	// accepted for its durations to say anything, where nine of ten are typical.
	progressLeast = 20
)

// Progress decides whether a candidate finishes what it accepts. One that
// accepts and then blocks every handler keeps its accept queue empty, so that
// the queue shows nothing.
//
// How long a connection may take is learned from the active generation, by
// chance: if a part f of what it accepted was closed within a time, then of n
// connections to a candidate that works as it does, none is finished in that
// time with the probability (1-f)^n. Of nine tenths, eight connections make that
// 10^-8; of a half, 27 do. Connections that are still open count as longer than
// all others, so it is the same whether long ones are open yet or were closed
// late. Where not even half of them are known to be closed nothing is typical
// and nothing is judged; nor where the active generation does not finish what it
// accepts either.
//
// Chance alone is not enough: long connections come in swarms, as when a client
// opens a pool of them. So no more than eight count of those that come within
// one interval, and the fewer are typical, the more intervals must go by without
// one that is finished; and four times the typical time in any case.
//
// Not for concurrent use. Observing allocates nothing.
type Progress struct {
	interval time.Duration
	typical  typical
	held     measure // what the candidate is held to

	begun    bool
	began    time.Duration
	finished uint64 // by the candidate, of its last observation
	accepted uint64 // by the candidate, when finished moved last
	swarm    swarm  // accepted since
	many     bool   // as many as it takes were counted, at the latest then
	manyAt   time.Duration
}

// NewProgress returns a Progress that allows for at least three intervals.
func NewProgress(interval time.Duration) *Progress {
	return &Progress{interval: interval, held: unknown()}
}

// Typical takes what the active generation reports, summed over listeners, as
// often as it does. It is not asked for again once the active generation has
// paused: what it closes then is no measure.
func (p *Progress) Typical(active Count) {
	p.typical.begin(active)
	p.held = p.typical.choose(active, p.interval)
}

// Observe takes what the candidate reports, summed over listeners, each with
// the totals since its start. at does not go back. f tells of Stuck.
func (p *Progress) Observe(at time.Duration, candidate Count) (f Finding, state ProgressState) {
	if !p.begun {
		p.begun, p.began = true, at
	}
	p.count(at, candidate)
	if p.held.within == 0 {
		return Finding{}, Shown
	}
	patience := p.held.patience(p.interval)
	if p.many && at-p.manyAt >= patience {
		return Finding{
			Reason: ReasonNoProgress, Listener: candidate.Listener,
			Accepted: candidate.Accepted - min(candidate.Accepted, p.accepted), For: at - p.manyAt, Window: patience,
		}, Stuck
	}
	patience = min(patience, progressPatience)
	early := at-p.began < patience || p.many && at-p.manyAt < patience
	if candidate.Finished < progressFinished && early {
		return Finding{}, Open
	}
	return Finding{}, Shown
}

// count counts what was accepted since the candidate finished anything.
func (p *Progress) count(at time.Duration, candidate Count) {
	if candidate.Finished != p.finished {
		p.finished, p.accepted = candidate.Finished, candidate.Accepted
		p.swarm = swarm{seen: candidate.Accepted}
	}
	p.swarm.add(at, candidate.Accepted, p.interval)
	enough := p.swarm.counted >= p.held.accepted
	if enough && !p.many {
		p.manyAt = at
	}
	p.many = enough
}

// A swarm counts connections, but progressAccepted at the most of those that come
// within an interval: they may all be one client's, and alike.
type swarm struct {
	seen    uint64 // of all that were ever accepted
	counted uint64
	round   uint64 // counted in the interval that began with the first of them
	began   time.Duration
}

// add takes how many were accepted until then.
func (s *swarm) add(at time.Duration, accepted uint64, interval time.Duration) {
	more := accepted - min(accepted, s.seen)
	if more == 0 {
		return
	}
	if s.round == 0 || at-s.began >= interval {
		s.round, s.began = 0, at
	}
	more = min(more, progressAccepted-s.round)
	s.seen, s.counted, s.round = accepted, s.counted+more, s.round+more
}
