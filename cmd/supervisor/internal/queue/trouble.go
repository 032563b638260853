package queue

import (
	"fmt"
	"time"

	"example.com/supervisor/health"
)

// Trouble is one thing that is wrong with an accept queue.
type Trouble struct {
	Reason health.Reason `json:"reason"`
	Text   string        `json:"text"`
}

// reasonFull: there is no place left. Package health decides before that.
const reasonFull health.Reason = "full"

const (
	// muchTaken is the fill from which on a queue is in trouble, and soon the
	// time in which one that grows must not become full.
	muchTaken = 0.5
	soon      = time.Second
)

// troubleOf judges a listener of a supervisor, whose figures are filled in.
func troubleOf(l *Listener, limits health.Limits, listening bool) []Trouble {
	if !listening {
		return []Trouble{notListening}
	}
	var all []Trouble
	all = append(all, fillTrouble(l)...)
	all = append(all, headTrouble(l.OldestSeconds, limits.WithDefaults().Target)...)
	return append(all, dropTrouble(l)...)
}

var notListening = Trouble{health.ReasonNotListening, "it does not listen: somebody called shutdown(2) on it; new clients are refused"}

func fillTrouble(l *Listener) []Trouble {
	if t := queueTrouble(l.Queue); t != nil {
		return t
	}
	switch {
	case l.MaxDepth != nil && *l.MaxDepth > *l.Limit:
		return []Trouble{{reasonFull, fmt.Sprintf("it was full a moment ago: %d waited, its limit is %d", *l.MaxDepth, *l.Limit)}}
	case l.FullInSeconds != nil && *l.FullInSeconds <= soon.Seconds():
		return []Trouble{{health.ReasonFilling, fmt.Sprintf("it fills: %d of %d places are taken, full in %s", *l.Depth, places(l.Queue), span(*l.FullInSeconds))}}
	}
	return nil
}

// queueTrouble judges how much of any queue is taken.
func queueTrouble(q Queue) []Trouble {
	switch {
	case q.Depth == nil:
		return nil
	case *q.Depth > *q.Limit:
		return []Trouble{{reasonFull, "it is full: clients that connect now are not answered, and try again a second later"}}
	case *q.Fill > muchTaken:
		return []Trouble{{health.ReasonFilling, fmt.Sprintf("%d of %d places are taken", *q.Depth, places(q))}}
	}
	return nil
}

// places is how many connections q holds: one more than its limit.
func places(q Queue) uint64 { return uint64(*q.Limit) + 1 }

func headTrouble(oldest *float64, target time.Duration) []Trouble {
	if oldest == nil || *oldest <= target.Seconds() {
		return nil
	}
	return []Trouble{{health.ReasonStanding, fmt.Sprintf("the oldest connection has waited %s to be accepted, target %s", span(*oldest), span(target.Seconds()))}}
}

// dropTrouble tells of a listener that drops now, or did since the snapshot
// before.
func dropTrouble(l *Listener) []Trouble {
	if l.DropsPerSecond != nil && *l.DropsPerSecond > 0 {
		return []Trouble{{health.ReasonDrops, fmt.Sprintf("the kernel drops packets of clients that connect: %s a second, %s since the start", frequency(*l.DropsPerSecond), amount(*l.Drops))}}
	}
	if l.NewDrops != nil && *l.NewDrops > 0 {
		return []Trouble{{health.ReasonDrops, fmt.Sprintf("the kernel dropped %s of clients that connect", packets(*l.NewDrops))}}
	}
	return nil
}

func packets(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return amount(n) + " packets"
}
