package plot

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"example.com/supervisor/internal/load"
)

// A shade is a colour that is neither too light for a white page nor too dark
// for a black one.
type shade uint32

const (
	muted shade = 0x7d8894 // text and axes

	colourP50 shade = 0x3b82f6
	colourP99 shade = 0xa371f7
	colourMax shade = 0x8b949e

	colourQueue shade = 0x0f8f94

	colourCommitted  shade = 0x2da44e
	colourRolledBack shade = 0xcc7711
	colourAborted    shade = 0xe5534b
	colourOther      shade = 0x8b949e
	colourFailed     shade = 0xe5534b
)

func (s shade) opaque() color.Color { return s.alpha(0xff) }

func (s shade) alpha(a uint8) color.Color {
	return color.NRGBA{R: uint8(s >> 16), G: uint8(s >> 8), B: uint8(s), A: a}
}

// A curve is one of the lines of a panel.
type curve struct {
	name  string
	shade shade
	width vg.Length
	value func(load.Point) float64
}

// curves are drawn in this order: the most important last, on top.
func curves() []curve {
	return []curve{
		{"max", colourMax, 0.8, func(p load.Point) float64 { return p.MaxMS }},
		{"p99", colourP99, 1.1, func(p load.Point) float64 { return p.P99MS }},
		{"p50", colourP50, 1.5, func(p load.Point) float64 { return p.P50MS }},
	}
}

func verdictShade(verdict string) shade {
	switch verdict {
	case "committed":
		return colourCommitted
	case "rolled-back":
		return colourRolledBack
	case "aborted":
		return colourAborted
	}
	return colourOther
}

// newPanel makes the plot of one traffic up to end, in seconds.
func newPanel(report load.Report, t load.TrafficReport, end float64) *plot.Plot {
	p := basePanel(t.Name, "latency (ms)")
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = decades{}
	low, high := bounds(t.Series)
	p.Add(hairlines(powersBetween(low, high), end))
	for _, e := range report.Events {
		p.Add(eventLine(e, low, high))
	}
	for _, c := range curves() {
		for _, segment := range segments(t.Series, report.BucketSeconds, c.value) {
			p.Add(&plotter.Line{XYs: segment, LineStyle: c.lineStyle()})
		}
	}
	p.Add(failures(t.Series, report.BucketSeconds, high))
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, end, low, high
	return p
}

// basePanel is what all panels have in common: time from left to right.
func basePanel(title, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.Title.Text = title
	p.Title.TextStyle = textStyle(10, muted)
	p.Title.TextStyle.XAlign = draw.XCenter
	p.Title.Padding = vg.Millimeter
	p.X.Label.Text, p.Y.Label.Text = "time (s)", y
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		styleAxis(axis)
	}
	p.X.Tick.Marker = roundSteps{most: 8}
	return p
}

func styleAxis(axis *plot.Axis) {
	axis.Color = muted.opaque()
	axis.Width = vg.Points(0.5)
	axis.Padding = 0
	axis.Label.TextStyle = centred(textStyle(9, muted))
	axis.Tick.Color = muted.opaque()
	axis.Tick.Width = vg.Points(0.5)
	x, y := axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
	axis.Tick.Label = textStyle(8, muted)
	axis.Tick.Label.XAlign, axis.Tick.Label.YAlign = x, y
}

func textStyle(size vg.Length, s shade) text.Style {
	return text.Style{
		Color: s.opaque(), Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler,
	}
}

func centred(s text.Style) text.Style {
	s.XAlign, s.YAlign = draw.XCenter, draw.YBottom
	return s
}

func (c curve) lineStyle() draw.LineStyle {
	return draw.LineStyle{Color: c.shade.opaque(), Width: vg.Points(float64(c.width))}
}

// bounds returns the powers of ten around all values.
func bounds(series []load.Point) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, p := range series {
		if p.OK > 0 {
			low, high = min(low, p.P50MS), max(high, p.MaxMS)
		}
	}
	if high == 0 {
		return 0.1, 10 // nothing was answered
	}
	low = math.Pow10(int(math.Floor(math.Log10(max(low, 0.001)))))
	high = math.Pow10(int(math.Ceil(math.Log10(max(high, 0.001) * 1.05))))
	return low, max(high, low*10)
}

// segments are the stretches of a curve without a bucket in which nothing was
// answered: a line across one would hide it.
func segments(series []load.Point, bucket float64, value func(load.Point) float64) []plotter.XYs {
	var all []plotter.XYs
	last := math.Inf(-1)
	for _, p := range series {
		if p.OK == 0 {
			continue
		}
		if p.AtSeconds-last > 1.5*bucket {
			all = append(all, nil)
		}
		last = p.AtSeconds
		i := len(all) - 1
		all[i] = append(all[i], plotter.XY{X: p.AtSeconds + bucket/2, Y: max(value(p), 0.001)})
	}
	return all
}

// powersBetween are the powers of ten that are neither low nor high.
func powersBetween(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for value := low * 10; value < high*0.99; value *= 10 {
		ticks = append(ticks, plot.Tick{Value: value})
	}
	return ticks
}

// hairlines are faint lines across the panel.
func hairlines(ticks []plot.Tick, end float64) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		x, y := p.Transforms(&c)
		for _, t := range ticks {
			c.StrokeLine2(draw.LineStyle{Color: muted.alpha(0x50), Width: vg.Points(0.4)}, x(0), y(t.Value), x(end), y(t.Value))
		}
	})
}

// eventLine is a vertical line in the colour of the verdict.
func eventLine(e load.EventReport, low, high float64) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		if e.AtSeconds < p.X.Min || e.AtSeconds > p.X.Max {
			return
		}
		x, y := p.Transforms(&c)
		c.StrokeLine2(eventStyle(e.Verdict), x(e.AtSeconds), y(low), x(e.AtSeconds), y(high))
	})
}

// eventStyle differs in its dashes too, for those who do not see the colours.
func eventStyle(verdict string) draw.LineStyle {
	style := draw.LineStyle{Color: verdictShade(verdict).opaque(), Width: vg.Points(0.9), Dashes: []vg.Length{3, 2}}
	switch verdict {
	case "rolled-back":
		style.Dashes = []vg.Length{8, 2, 2, 2}
	case "aborted":
		style.Dashes = []vg.Length{1.2, 1.8}
	}
	return style
}

// failures are crosses at the top over the buckets in which requests failed.
func failures(series []load.Point, bucket, high float64) plot.Plotter {
	return plotterFunc(func(c draw.Canvas, p *plot.Plot) {
		x, y := p.Transforms(&c)
		for _, point := range series {
			if point.Failed > 0 {
				c.DrawGlyph(failureStyle(), vg.Point{X: x(point.AtSeconds + bucket/2), Y: y(high) - vg.Points(5)})
			}
		}
	})
}

func failureStyle() draw.GlyphStyle {
	return draw.GlyphStyle{Color: colourFailed.opaque(), Radius: vg.Points(3), Shape: draw.CrossGlyph{}}
}

// plotterFunc is a plot.Plotter that is a function.
type plotterFunc func(draw.Canvas, *plot.Plot)

func (f plotterFunc) Plot(c draw.Canvas, p *plot.Plot) { f(c, p) }

// decades labels powers of ten as plain numbers.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for exponent := math.Floor(math.Log10(low)); math.Pow(10, exponent) <= high*1.001; exponent++ {
		decade := math.Pow(10, exponent)
		ticks = append(ticks, plot.Tick{Value: decade, Label: strconv.FormatFloat(decade, 'f', max(0, int(-exponent)), 64)})
		for i := 2.0; i < 10; i++ {
			ticks = append(ticks, plot.Tick{Value: i * decade})
		}
	}
	return ticks
}

// roundSteps makes at most so many marks: at steps of 1, 2 or 5, or these times
// a power of 10.
type roundSteps struct{ most float64 }

// Ticks implements plot.Ticker.
func (r roundSteps) Ticks(low, high float64) []plot.Tick {
	decade := math.Pow(10, math.Floor(math.Log10((high-low)/r.most)))
	step := 10 * decade
	for _, factor := range []float64{5, 2, 1} {
		if (high-low)/(factor*decade) <= r.most {
			step = factor * decade
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', -1, 64)})
	}
	return ticks
}
