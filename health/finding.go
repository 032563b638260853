package health

import (
	"cmp"
	"fmt"
	"time"
)

// Error is the text of String.
func (f Finding) Error() string { return f.String() }

// String tells what was found, by which figures, and where there is something
// to be done, what.
func (f Finding) String() string {
	if f.Listener == "" || f.Reason == ReasonSettled || f.Reason == ReasonNoProgress {
		return f.overall()
	}
	text := "listener " + f.Listener + ": " + f.about()
	if f.Ago > 0 && f.Reason != ReasonDrops && f.Reason != ReasonUnseen {
		text += ", " + ago(f.Ago)
	}
	return text
}

// overall is the text of what is not about the queue of one listener.
func (f Finding) overall() string {
	switch f.Reason {
	case ReasonSettled:
		if f.Listener == "" {
			return fmt.Sprintf("no queue is judged, for %v", rounded(f.For))
		}
		return fmt.Sprintf("all queues were well for %v (least room: %s, %s)", rounded(f.For), f.Listener, f.room())
	case ReasonUnseen:
		if f.Window > 0 {
			return fmt.Sprintf("all queues are well, but were seen for %v only, and %v are wanted", rounded(f.For), rounded(f.Window))
		}
		return "the queues have not been looked at"
	case ReasonNoProgress:
		return fmt.Sprintf("the candidate accepted %d connections and has finished none for %v: its handlers seem to be blocked", f.Accepted, rounded(f.For))
	}
	return cmp.Or(string(f.Reason), "nothing was found")
}

// about is what is the matter with the listener's queue.
func (f Finding) about() string {
	o := f.Observation
	switch f.Reason {
	case ReasonDrops:
		return fmt.Sprintf("the kernel dropped %s of connecting clients %s (%s)", plural(uint64(f.Dropped), "packet"), ago(f.Ago), f.fill())
	case ReasonStanding:
		return f.stands()
	case ReasonFilling:
		if o.Full() {
			return fmt.Sprintf("its queue is full (%s): the next connection is dropped", f.fill())
		}
		return fmt.Sprintf("its queue will be full in %v (%s, growing by %.0f a second)", rounded(f.FullIn), f.fill(), f.Growth)
	case ReasonDepth:
		return fmt.Sprintf("its queue is deeper than before the upgrade (%s, %d before)", f.fill(), f.Baseline)
	case ReasonHeadroom:
		return f.tooShort()
	case ReasonUnseen:
		return "its queue cannot be looked at; the last look was " + ago(f.Ago)
	case ReasonNotListening:
		return "it does not listen any more: a process that holds it called shutdown(2)"
	}
	return string(f.Reason)
}

// stands tells of a queue that stands, or of one that begins to.
func (f Finding) stands() string {
	o, figures := f.Observation, f.fill()
	if o.HeadKnown && o.Depth > 0 {
		figures = fmt.Sprintf("oldest %v, %s", rounded(o.Head), figures)
	}
	if o.At-f.Since < f.Limits.Interval {
		return fmt.Sprintf("connections wait for more than %v (%s)", rounded(f.Limits.Target), figures)
	}
	return fmt.Sprintf("its queue stands: connections have waited more than %v for %v on end (%s)",
		rounded(f.Limits.Target), rounded(o.At-f.Since), figures)
}

// tooShort says that the queue has too little room, and if a longer one would
// have, how to get that.
func (f Finding) tooShort() string {
	o := f.Observation
	room, _ := o.Headroom()
	waiting := ""
	if o.Depth > 0 {
		waiting = fmt.Sprintf(" (%d waiting)", o.Depth)
	}
	text := fmt.Sprintf("at %.0f connections a second its queue of %d%s is full in %v if nobody accepts, and %v is the least",
		o.Arrivals, o.Limit, waiting, rounded(room), rounded(f.Limits.Headroom))
	if wanted := ampleBacklog(o.Arrivals, f.Limits.Headroom); wanted > uint64(o.Limit) {
		text += fmt.Sprintf(": raise its backlog (?backlog=%d, net.core.somaxconn)", wanted)
	}
	return text
}

// ampleBacklog is the kernel's own default of net.core.somaxconn, or as often
// twice that as holds four times what must be held.
func ampleBacklog(arrivals float64, headroom time.Duration) uint64 {
	backlog := uint64(4096)
	for float64(backlog) < 4*arrivals*headroom.Seconds() && backlog < 1<<30 {
		backlog *= 2
	}
	return backlog
}

func (f Finding) fill() string {
	return fmt.Sprintf("%d of %d waiting", f.Observation.Depth, f.Observation.Limit)
}

func (f Finding) room() string {
	text := f.fill() + ", no drops"
	if room, ok := f.Observation.Headroom(); ok && room < maxHeadroom {
		text += fmt.Sprintf(", headroom %v", rounded(room))
	}
	return text
}

// severity orders reasons: what is found first is what should be read first.
func (r Reason) severity() int {
	switch r {
	case ReasonNotListening:
		return 6
	case ReasonDrops:
		return 5
	case ReasonStanding:
		return 4
	case ReasonFilling:
		return 3
	case ReasonHeadroom:
		return 2
	case ReasonDepth:
		return 1
	default:
		return 0
	}
}

// outweighs reports whether f is what should be told if there is g as well: of
// the more serious reason, and of two alike the later, then the fuller.
func (f Finding) outweighs(g Finding) bool {
	return cmp.Or(
		cmp.Compare(f.Reason.severity(), g.Reason.severity()),
		cmp.Compare(g.Ago, f.Ago),
		cmp.Compare(f.Observation.fill(), g.Observation.fill()),
	) > 0
}

// fill is the part of the queue that is taken.
func (o Observation) fill() float64 { return float64(o.Depth) / (float64(o.Limit) + 1) }

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ago(d time.Duration) string {
	if d <= 0 {
		return "just now"
	}
	return fmt.Sprintf("%v ago", rounded(d))
}

// rounded leaves of a duration what a person wants to know.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Millisecond)
	default:
		return d.Round(10 * time.Microsecond)
	}
}
