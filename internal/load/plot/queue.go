package plot

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"example.com/supervisor/internal/load"
)

// A Queue is how many connections waited to be accepted, over time.
type Queue struct {
	// Limit is what the queue was given; it holds one more. It is drawn if the
	// queue came near it, and named anyway; 0 if it is not known.
	Limit uint32
	// Points are in the order of their times.
	Points []QueuePoint
}

// A QueuePoint is the greatest depth from its time to that of the next.
type QueuePoint struct {
	AtSeconds float64
	Depth     uint32
}

// until returns the points up to end, in seconds.
func (q Queue) until(end float64) []QueuePoint {
	points := q.Points
	for len(points) > 0 && points[len(points)-1].AtSeconds > end {
		points = points[:len(points)-1]
	}
	return points
}

// high is the upper end of the axis. The limit is on it unless the queue would
// be a flat line below it.
func (q Queue) high() float64 {
	const least = 10 // a queue of one is no mountain
	high := 0.0
	for _, p := range q.Points {
		high = max(high, float64(p.Depth))
	}
	if limit := float64(q.Limit); limit > 0 && limit <= 4*high {
		high = max(high, limit)
	}
	return max(least, high*1.08)
}

// title names the limit: whether the queue was ever near it is what a reader
// wants to know.
func (q Queue) title() string {
	if q.Limit == 0 {
		return "accept queue"
	}
	return fmt.Sprintf("accept queue (limit %s)", thousands(uint64(q.Limit)))
}

// newQueuePanel makes the plot of a queue up to end, in seconds.
func newQueuePanel(report load.Report, q Queue, end float64) *plot.Plot {
	high := q.high()
	p := basePanel(q.title(), "waiting")
	p.Y.Tick.Marker = roundSteps{most: 5}
	p.Add(hairlines(p.Y.Tick.Marker.Ticks(0, high), end))
	p.Add(queueLine(q.until(end), end))
	if q.limitFits() {
		p.Add(limitLine(float64(q.Limit), end))
	}
	for _, e := range report.Events {
		p.Add(eventLine(e, 0, high))
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, end, 0, high
	return p
}

// limitFits reports whether the limit is on the axis.
func (q Queue) limitFits() bool { return q.Limit > 0 && float64(q.Limit) <= q.high() }

// queueLine is filled, so that a spike of a few points is seen.
func queueLine(points []QueuePoint, end float64) *plotter.Line {
	line := &plotter.Line{LineStyle: queueStyle(), StepStyle: plotter.PostStep, FillColor: colourQueue.alpha(0x50)}
	for _, p := range points {
		line.XYs = append(line.XYs, plotter.XY{X: p.AtSeconds, Y: float64(p.Depth)})
	}
	if n := len(points); n > 0 { // the last one holds until its successor would come
		step := 0.0
		if n > 1 {
			step = points[n-1].AtSeconds - points[n-2].AtSeconds
		}
		line.XYs = append(line.XYs, plotter.XY{X: min(points[n-1].AtSeconds+step, end), Y: float64(points[n-1].Depth)})
	}
	return line
}

func queueStyle() draw.LineStyle {
	return draw.LineStyle{Color: colourQueue.opaque(), Width: vg.Points(1)}
}

func limitLine(limit, end float64) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		x, y := p.Transforms(&c)
		c.StrokeLine2(limitStyle(), x(0), y(limit), x(end), y(limit))
	})
}

func limitStyle() draw.LineStyle {
	return draw.LineStyle{Color: colourFailed.opaque(), Width: vg.Points(0.9)}
}
