package load

import (
	"container/heap"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A pacer says when requests are due. It never waits for an answer, and the
// times it gives out depend on the rates alone: one that it was late for is
// given out late, not left out.
type pacer struct {
	alarm *alarm
	beats beatHeap
	lag   *hdrhistogram.Histogram // how late, in microseconds
}

// A beat is one open loop: fire is called for each request with the time at
// which it is due.
type beat struct {
	next     time.Time
	first    time.Time
	interval float64 // nanoseconds
	count    float64
	fire     func(due time.Time)
}

func newPacer() (*pacer, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	return &pacer{alarm: a, lag: newHistogram()}, nil
}

// add sets up a beat at rate per second from first on; fire must not block.
func (p *pacer) add(first time.Time, rate float64, fire func(due time.Time)) {
	heap.Push(&p.beats, &beat{next: first, first: first, interval: float64(time.Second) / rate, fire: fire})
}

// run fires until end, until it fired most times, or until interrupt.
func (p *pacer) run(end time.Time, most uint64) {
	for fired := uint64(0); len(p.beats) > 0 && p.beats[0].next.Before(end); fired++ {
		b := p.beats[0]
		if fired == most || p.alarm.wait(time.Until(b.next)) != nil {
			return
		}
		p.lag.RecordValue(max(time.Since(b.next).Microseconds(), 0)) //nolint:errcheck // an hour late is off the scale
		b.fire(b.next)
		// Multiplied, not added up: no rounding error grows.
		b.count++
		b.next = b.first.Add(time.Duration(b.count * b.interval))
		heap.Fix(&p.beats, 0)
	}
	p.alarm.wait(time.Until(end)) //nolint:errcheck // interrupted: ends as well
}

func (p *pacer) interrupt() { p.alarm.interrupt() }

func (p *pacer) close() { p.alarm.close() }

// A beatHeap has the beat that is due next at 0.
type beatHeap []*beat

func (h beatHeap) Len() int           { return len(h) }
func (h beatHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h beatHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *beatHeap) Push(b any)        { *h = append(*h, b.(*beat)) }
func (h *beatHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
