package plot

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"example.com/supervisor/internal/load"
)

// drawLegend names the lines, and of the verdicts those that occurred, with
// their number.
func drawLegend(c draw.Canvas, report load.Report, options Options, panels []load.TrafficReport) {
	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.TextStyle = textStyle(9, muted)
	legend.TextStyle.YAlign = draw.YBottom
	legend.XOffs = 3 * vg.Millimeter
	legend.YOffs = -5 * vg.Millimeter
	legend.Padding = 2 * vg.Millimeter
	legend.ThumbnailWidth = 7 * vg.Millimeter
	for _, c := range slices.Backward(curves()) {
		legend.Add(c.name, lineThumbnail(c.lineStyle()))
	}
	if len(options.Queue.Points) > 0 {
		legend.Add("waiting", lineThumbnail(queueStyle()))
		if options.Queue.limitFits() {
			legend.Add("limit", lineThumbnail(limitStyle()))
		}
	}
	for _, v := range verdicts(report.Events) {
		legend.Add(fmt.Sprintf("%s (%d)", v.name, v.count), lineThumbnail(eventStyle(v.name)))
	}
	if slices.ContainsFunc(panels, func(t load.TrafficReport) bool { return t.Failed > 0 }) {
		legend.Add("failed", glyphThumbnail{})
	}
	legend.Draw(c)
}

type verdictCount struct {
	name  string
	count int
}

// verdicts counts the events by verdict, in the order in which they occurred
// first.
func verdicts(events []load.EventReport) []verdictCount {
	var counts []verdictCount
	for _, e := range events {
		name := e.Verdict
		if name == "" {
			name = "event"
		}
		i := slices.IndexFunc(counts, func(v verdictCount) bool { return v.name == name })
		if i < 0 {
			i = len(counts)
			counts = append(counts, verdictCount{name: name})
		}
		counts[i].count++
	}
	return counts
}

// A lineThumbnail is the sample of a line in the legend.
type lineThumbnail draw.LineStyle

// Thumbnail implements plot.Thumbnailer.
func (l lineThumbnail) Thumbnail(c *draw.Canvas) {
	y := c.Center().Y
	c.StrokeLine2(draw.LineStyle(l), c.Min.X, y, c.Max.X, y)
}

type glyphThumbnail struct{}

// Thumbnail implements plot.Thumbnailer.
func (glyphThumbnail) Thumbnail(c *draw.Canvas) { c.DrawGlyph(failureStyle(), c.Center()) }
