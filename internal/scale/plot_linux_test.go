package scale

import (
	"bytes"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A line is one of a panel.
type line struct {
	name   string
	points plotter.XYs
}

// A panel is a plot among others, with logarithmic scales.
type panel struct {
	title, x, y string
	lines       []line
}

// pens can be told from each other on a white page and on a dark one.
func pens() []color.Color {
	return []color.Color{
		color.NRGBA{0x3b, 0x82, 0xf6, 0xff}, color.NRGBA{0xcc, 0x77, 0x11, 0xff},
		color.NRGBA{0x2d, 0xa4, 0x4e, 0xff}, color.NRGBA{0xa3, 0x71, 0xf7, 0xff},
	}
}

// muted is the colour of text and axes.
func muted() color.Color { return color.NRGBA{0x7d, 0x88, 0x94, 0xff} }

// drawTo writes panels side by side as SVG beside the document.
func drawTo(t *testing.T, name string, panels []panel) {
	t.Helper()
	dir := os.Getenv(documentsEnv)
	if dir == "" || t.Failed() {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), picture(t, panels), 0o644); err != nil {
		t.Fatal(err)
	}
}

// picture is the SVG of panels side by side.
func picture(t *testing.T, panels []panel) []byte {
	t.Helper()
	row := make([]*plot.Plot, len(panels))
	for i, p := range panels {
		row[i] = p.plot(t)
	}
	canvas := vgsvg.New(vg.Length(len(panels))*9*vg.Centimeter, 7.5*vg.Centimeter)
	tiles := draw.Tiles{Rows: 1, Cols: len(row), PadX: 5 * vg.Millimeter, PadTop: 2 * vg.Millimeter, PadRight: 3 * vg.Millimeter, PadBottom: 2 * vg.Millimeter, PadLeft: 2 * vg.Millimeter}
	for i, c := range plot.Align([][]*plot.Plot{row}, tiles, draw.New(canvas))[0] {
		row[i].Draw(c)
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arimo,Arial,Helvetica,sans-serif;"))
}

func (p panel) plot(t *testing.T) *plot.Plot {
	t.Helper()
	out := plot.New()
	out.BackgroundColor = color.Transparent
	out.Title.Text, out.Title.TextStyle = p.title, style(10)
	out.Title.TextStyle.XAlign = draw.XCenter
	out.X.Label.Text, out.Y.Label.Text = p.x, p.y
	for _, axis := range []*plot.Axis{&out.X, &out.Y} {
		axis.Scale, axis.Tick.Marker = plot.LogScale{}, decades{}
		axis.Color, axis.Tick.Color, axis.Padding = muted(), muted(), 0
		x, y := axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Label.TextStyle, axis.Tick.Label = style(9), style(8)
		axis.Label.TextStyle.XAlign, axis.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
		axis.Tick.Label.XAlign, axis.Tick.Label.YAlign = x, y
	}
	out.Legend.TextStyle, out.Legend.Top, out.Legend.Left = style(8), true, true
	out.Legend.TextStyle.YAlign = draw.YBottom // by which it counts the height of a line
	out.X.Min, out.X.Max, out.Y.Min, out.Y.Max = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for i, l := range p.lines {
		if len(l.points) == 0 {
			continue
		}
		drawn, glyphs, err := plotter.NewLinePoints(l.points)
		if err != nil {
			t.Fatalf("cannot draw %s: %v", l.name, err)
		}
		pen := pens()[i%len(pens())]
		drawn.Color, drawn.Width = pen, vg.Points(1.3)
		glyphs.Color, glyphs.Shape, glyphs.Radius = pen, draw.CircleGlyph{}, vg.Points(2)
		out.Add(drawn, glyphs)
		out.Legend.Add(l.name, drawn)
	}
	if math.IsInf(out.X.Min, 0) { // nothing is drawn
		out.X.Min, out.X.Max, out.Y.Min, out.Y.Max = 1, 10, 1, 10
	}
	out.X.Min, out.X.Max = decade(out.X.Min, math.Floor), decade(out.X.Max, math.Ceil)
	out.Y.Min, out.Y.Max = decade(out.Y.Min, math.Floor), 10*decade(out.Y.Max, math.Ceil) // room for the legend
	return out
}

func style(size vg.Length) text.Style {
	return text.Style{
		Color: muted(), Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler,
	}
}

// decade is the power of ten near n.
func decade(n float64, round func(float64) float64) float64 {
	return math.Pow10(int(round(math.Log10(n))))
}

// decades labels powers of ten as plain numbers.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	for d := decade(low, math.Floor); d <= high*1.001; d *= 10 {
		ticks = append(ticks, plot.Tick{Value: d, Label: strconv.FormatFloat(d, 'f', -1, 64)})
		for i := 2.0; i < 10; i++ {
			ticks = append(ticks, plot.Tick{Value: i * d})
		}
	}
	return ticks
}

// curve is a line of what rows have; one without a place on a logarithmic scale is
// left out.
func curve[Row any](name string, rows []Row, x, y func(Row) float64) line {
	l := line{name: name}
	for _, r := range rows {
		if x(r) > 0 && y(r) > 0 {
			l.points = append(l.points, plotter.XY{X: x(r), Y: y(r)})
		}
	}
	return l
}

func listenerPlot(rows []listenerRow) []panel {
	x := func(r listenerRow) float64 { return float64(r.listeners) }
	return []panel{
		{title: "time", x: "listeners", y: "ms", lines: []line{
			curve("request to ready", rows, x, func(r listenerRow) float64 { return r.took.ready.median().Seconds() * 1000 }),
			curve("pause to paused", rows, x, func(r listenerRow) float64 { return r.took.pause.median().Seconds() * 1000 }),
			curve("in the gate", rows, x, func(r listenerRow) float64 { return r.took.gate.median().Seconds() * 1000 }),
		}},
		{title: "CPU time of the supervisor", x: "listeners", y: "% of a core", lines: []line{
			curve("at rest", rows, x, func(r listenerRow) float64 { return r.idle * 100 }),
			curve("in a bake", rows, x, func(r listenerRow) float64 { return r.bake * 100 }),
		}},
		{title: "resident memory", x: "listeners", y: "MiB", lines: []line{
			curve("supervisor", rows, x, func(r listenerRow) float64 { return float64(r.supervisor) / (1 << 20) }),
			curve("generation", rows, x, func(r listenerRow) float64 { return float64(r.generation) / (1 << 20) }),
		}},
	}
}

func connectionPlot(rows []connectionRow) []panel {
	x := func(r connectionRow) float64 { return float64(r.connections) }
	native, foreign := of(rows, "native"), of(rows, "listen-fds")
	return []panel{
		{title: "time", x: "open connections", y: "ms", lines: []line{
			curve("request to ready", native, x, func(r connectionRow) float64 { return r.open.ready.median().Seconds() * 1000 }),
			curve("pause to paused", native, x, func(r connectionRow) float64 { return r.open.pause.median().Seconds() * 1000 }),
			curve("last closed to drained", native, x, func(r connectionRow) float64 { return r.drained.Seconds() * 1000 }),
			curve("the same, listen-fds", foreign, x, func(r connectionRow) float64 { return r.drained.Seconds() * 1000 }),
		}},
		{title: "CPU time of supervisor and shims", x: "open connections", y: "% of a core", lines: []line{
			curve("at rest", native, x, func(r connectionRow) float64 { return r.idle * 100 }),
			curve("in the drains", native, x, func(r connectionRow) float64 { return r.drain * 100 }),
			curve("at rest, listen-fds", foreign, x, func(r connectionRow) float64 { return r.idle * 100 }),
			curve("in the drains, listen-fds", foreign, x, func(r connectionRow) float64 { return r.drain * 100 }),
		}},
		{title: "resident memory", x: "open connections", y: "MiB", lines: []line{
			curve("supervisor", native, x, func(r connectionRow) float64 { return float64(r.supervisor) / (1 << 20) }),
			curve("service, beyond 0", native, x, func(r connectionRow) float64 { return float64(r.service) / (1 << 20) }),
		}},
	}
}

// TestPicture draws rows with and without figures.
func TestPicture(t *testing.T) {
	t.Parallel()
	rows := []connectionRow{
		{protocol: "native", idle: 0.01, drain: 0.02, drained: time.Millisecond, supervisor: 1 << 20},
		{protocol: "native", connections: 20_000, idle: 0.01, drain: 0.02, drained: time.Second, supervisor: 2 << 20, service: 1 << 27},
	}
	for _, panels := range [][]panel{connectionPlot(nil), listenerPlot(nil), connectionPlot(rows)} {
		svg := string(picture(t, panels))
		if !strings.HasPrefix(svg, "<?xml") || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("no picture: %.200s", svg)
		}
	}
}
