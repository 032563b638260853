package health

import "time"

// A Sample is one look at the accept queue of one listener.
type Sample struct {
	// Depth is the number of connections that wait to be accepted (dead ones
	// included), Limit what listen(2) got after the kernel's clamp
	// (net.core.somaxconn). A queue holds one more than its limit
	// (sk_acceptq_is_full, include/net/sock.h).
	Depth, Limit uint32
	// Drops counts packets that the listener discarded, since it was made: a
	// client that waits adds to it again and again. It wraps; only differences
	// mean something. Unix sockets have no such counter and show 0.
	Drops uint32
	// Listening is false after somebody called shutdown(2) on the listener.
	Listening bool
}

// Full reports whether the next connection would be dropped.
func (s Sample) Full() bool { return s.Depth > s.Limit }

// Room is how many more connections the queue takes.
func (s Sample) Room() uint32 {
	if s.Full() {
		return 0
	}
	return s.Limit + 1 - s.Depth
}

// Waiting is what is known of the connections in one accept queue.
type Waiting struct {
	// Known is false where they cannot be seen: Unix sockets, and listeners of
	// another network namespace than the supervisor's.
	Known bool
	Count int
	// Oldest and Youngest are their ages in steps of a jiffy (1 to 10 ms; 4 ms
	// at HZ=250), less than one step too little or too much: the kernel
	// subtracts two counts of jiffies. 0 if nothing waits.
	Oldest, Youngest time.Duration
}

// An Observation is one listener at one moment, as the deciders take it.
type Observation struct {
	// At counts from a fixed moment, the same for all observations of a stream.
	// Where a look fails, the last one that did not has to do.
	At time.Duration
	Sample
	// Head is the age of the oldest waiting connection, 0 if the queue is
	// empty. HeadKnown is false where it was not looked at.
	Head      time.Duration
	HeadKnown bool
	// Arrivals are new connections per second, smoothed; negative if unknown.
	Arrivals float64
}

// Headroom is how long the queue would take to fill if nobody accepted from
// now on; ok is false if the arrivals are not known or there are none.
func (o Observation) Headroom() (d time.Duration, ok bool) {
	if o.Arrivals <= 0 {
		return 0, false
	}
	return time.Duration(min(float64(o.Room())/o.Arrivals, maxHeadroom.Seconds()) * float64(time.Second)), true
}

// maxHeadroom is as long as any.
const maxHeadroom = 24 * time.Hour

// Limits are the thresholds by which one listener's queue is judged.
type Limits struct {
	// Off leaves the listener out of every decision; it is observed all the same.
	Off bool
	// Target is the sojourn that a queue may have all the time; CoDel's target
	// (RFC 8289). Default 5 ms.
	Target time.Duration
	// Interval is for how long the oldest connection must have waited longer
	// than Target before the queue counts as standing; CoDel's interval.
	// Default 100 ms.
	Interval time.Duration
	// Headroom is for how long the queue must be able to take all arrivals with
	// nobody accepting, for the gate to open. Default 20 ms.
	Headroom time.Duration
	// Reaction is how early a queue that fills must be noticed: the bake trips
	// if it would be full within it. Default 50 ms.
	Reaction time.Duration
}

// WithDefaults returns l with its zero fields filled in.
func (l Limits) WithDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&l.Target, 5*time.Millisecond)
	def(&l.Interval, 100*time.Millisecond)
	def(&l.Headroom, 20*time.Millisecond)
	def(&l.Reaction, 50*time.Millisecond)
	return l
}

// A Baseline is how a queue was before the candidate accepted from it.
type Baseline struct {
	// Known is false if it was not looked at.
	Known bool
	// Depth is its median depth.
	Depth uint32
	// Head is the least age of the oldest connection that was seen.
	Head time.Duration
	// Dropping: its drop counter moved within the last seconds, as far back as
	// admission looks.
	Dropping bool
}

// Watched is a listener as the deciders know it.
type Watched struct {
	Name     string
	Limits   Limits
	Baseline Baseline
	// Tolerant: an incident is being mended (a forced upgrade, a rollback), so
	// that only what is worse than the baseline is held against a generation.
	Tolerant bool
}

// A Reason is why something was decided, in one word.
type Reason string

const (
	// ReasonSettled: all has been well for the window.
	ReasonSettled Reason = "settled"
	// ReasonDrops: the kernel dropped packets of clients that want to connect.
	ReasonDrops Reason = "drops"
	// ReasonStanding: connections wait too long all the time.
	ReasonStanding Reason = "standing-queue"
	// ReasonFilling: the queue will be full before the old generation can help.
	ReasonFilling Reason = "filling"
	// ReasonDepth: more connections wait than before the upgrade.
	ReasonDepth Reason = "depth"
	// ReasonHeadroom: the queue is too short for the arrivals.
	ReasonHeadroom Reason = "headroom"
	// ReasonNotListening: somebody called shutdown(2) on the listener.
	ReasonNotListening Reason = "not-listening"
	// ReasonNoProgress: the candidate accepts connections and finishes none.
	ReasonNoProgress Reason = "no-progress"
	// ReasonUnseen: there were no observations to judge by, or a listener could
	// not be looked at.
	ReasonUnseen Reason = "unseen"
)

// A Finding is the reason of a decision with the figures that led to it. It is
// an error too: its text says all in words a person can act on.
type Finding struct {
	Reason Reason
	// Listener is the name of the listener it is about; "" if it is about all.
	// With ReasonSettled it is the one that had the least room.
	Listener string
	// Observation is the last one that led to it, and Ago how long before the
	// decision that was.
	Observation Observation
	Ago         time.Duration
	// Limits are those it was judged by; Target is raised where more is
	// tolerated.
	Limits Limits
	// Since is when (as Observation.At) the queue began to stand, or when the
	// last drop was seen.
	Since time.Duration
	// Dropped is by how much the drop counter moved.
	Dropped uint32
	// FullIn is when the queue would be full, growing as it does by Growth
	// connections a second; 0 if it is full.
	FullIn time.Duration
	Growth float64
	// Baseline is the depth that is held against Observation.Depth.
	Baseline uint32
	// Accepted and Finished are the candidate's, for ReasonNoProgress, in the
	// time For. With ReasonSettled and ReasonUnseen, For is how long all has
	// been well; Window is what is wanted.
	Accepted, Finished uint64
	For, Window        time.Duration
}
