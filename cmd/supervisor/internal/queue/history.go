package queue

import (
	"math"
	"strings"
)

// historyLength is how many rounds a History remembers: more than a screen is
// wide.
const historyLength = 512

// leastPeak is the least depth that fills a line to its top, so that one
// connection does not look like a flood.
const leastPeak = 8

// A History remembers the depths of queues, by key, for their lines. The zero
// value is empty. It is not for concurrent use.
type History struct {
	round  uint64
	series map[string]*series
}

type series struct {
	depths []float64 // the latest last; NaN where it was not known
	round  uint64    // of the latest
}

// Add remembers a round; queues that are not in it are forgotten.
func (h *History) Add(p Picture) {
	if h.series == nil {
		h.series = map[string]*series{}
	}
	h.round++
	for _, r := range p.table().rows {
		s := h.series[r.key]
		if s == nil {
			s = &series{}
			h.series[r.key] = s
		}
		s.add(r.depth, h.round)
	}
	for key, s := range h.series {
		if s.round != h.round {
			delete(h.series, key)
		}
	}
}

func (s *series) add(depth *uint32, round uint64) {
	value := math.NaN()
	if depth != nil {
		value = float64(*depth)
	}
	if len(s.depths) == historyLength {
		s.depths = append(s.depths[:0], s.depths[1:]...)
	}
	s.depths, s.round = append(s.depths, value), round
}

// line draws the latest depths of a queue, at most width of them, each as high
// as its part of the peak among them.
func (h *History) line(key string, width int, ascii bool) (line string, peak uint32) {
	s := h.series[key]
	if s == nil || width <= 0 {
		return "", 0
	}
	shown := s.depths[max(0, len(s.depths)-width):]
	highest := 0.0
	for _, d := range shown {
		if d > highest { // never true of NaN
			highest = d
		}
	}
	return sparkline(shown, max(highest, leastPeak), ascii), uint32(highest)
}

var (
	blocks      = []rune("▁▂▃▄▅▆▇█")
	asciiBlocks = []rune(".:-=+*#@")
)

// sparkline draws one character for each value: a space for one that is not
// known, an empty place for 0, else one of eight heights.
func sparkline(values []float64, top float64, ascii bool) string {
	heights, none := blocks, '·'
	if ascii {
		heights, none = asciiBlocks, '_'
	}
	var line strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			line.WriteRune(' ')
		case v <= 0:
			line.WriteRune(none)
		default:
			step := int(math.Ceil(v/top*float64(len(heights)))) - 1
			line.WriteRune(heights[min(max(step, 0), len(heights)-1)])
		}
	}
	return line.String()
}
