// Package plot draws the report of a load run: latency over time on a
// logarithmic scale, the accept queue below it where that was recorded, and when
// which upgrade happened.
//
// It is a package of its own so that programs that only send load do not link
// a plotting library. The colours are chosen to be read on a white page and on
// a dark one; the background is transparent.
package plot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"example.com/supervisor/internal/load"
)

// Options say what to draw.
type Options struct {
	// Title is written above the picture; "Latency under load" by default.
	Title string
	// Traffic names the traffic to draw, one panel each; all open loops by
	// default.
	Traffic []string
	// Queue is drawn below the traffic, if it has points.
	Queue Queue
}

const (
	width       = 24 * vg.Centimeter
	panelHeight = 5.2 * vg.Centimeter
	titleHeight = 1.6 * vg.Centimeter
	legendWidth = 3.5 * vg.Centimeter
)

// SVG writes the picture as SVG.
func SVG(w io.Writer, report load.Report, options Options) error {
	panels, err := choose(report, options)
	if err != nil {
		return err
	}
	rows := len(panels)
	if len(options.Queue.Points) > 0 {
		rows++
	}
	canvas := vgsvg.New(width, height(rows))
	drawPicture(draw.New(canvas), report, options, panels)
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return fmt.Errorf("cannot write the picture: %w", err)
	}
	if _, err := w.Write(withFallbackFonts(text.Bytes())); err != nil {
		return fmt.Errorf("cannot write the picture: %w", err)
	}
	return nil
}

// withFallbackFonts names fonts of the same widths for readers who do not have
// the one that the picture was measured with.
func withFallbackFonts(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arimo,Arial,Helvetica,sans-serif;"))
}

// choose returns the traffic to draw.
func choose(report load.Report, options Options) ([]load.TrafficReport, error) {
	var panels []load.TrafficReport
	for _, t := range report.Traffic {
		chosen := slices.Contains(options.Traffic, t.Name)
		if len(options.Traffic) == 0 {
			chosen = t.Pattern != load.InFlight
		}
		if chosen && len(t.Series) > 0 {
			panels = append(panels, t)
		}
	}
	if len(options.Traffic) > 0 && len(panels) < len(options.Traffic) {
		return nil, fmt.Errorf("cannot draw traffic %s: the report does not have all of it", strings.Join(options.Traffic, ", "))
	}
	if len(panels) == 0 {
		return nil, errors.New("cannot draw the report: it has no open loop with a time series")
	}
	return panels, nil
}

func height(panels int) vg.Length { return titleHeight + panelHeight*vg.Length(panels) }

// drawPicture draws the title, the panels below one another and the legend
// beside them.
func drawPicture(c draw.Canvas, report load.Report, options Options, panels []load.TrafficReport) {
	drawTitle(draw.Crop(c, 0, 0, c.Max.Y-c.Min.Y-titleHeight, 0), report, options)
	body := draw.Crop(c, 0, 0, 0, -titleHeight)
	drawLegend(draw.Crop(body, body.Max.X-body.Min.X-legendWidth, 0, 0, 0), report, options, panels)

	end := report.DurationSeconds
	for _, t := range panels {
		end = max(end, t.Series[len(t.Series)-1].AtSeconds)
	}
	var column [][]*plot.Plot
	for _, t := range panels {
		column = append(column, []*plot.Plot{newPanel(report, t, end)})
	}
	if len(options.Queue.Points) > 0 {
		column = append(column, []*plot.Plot{newQueuePanel(report, options.Queue, end)})
	}
	for _, row := range column[:len(column)-1] {
		row[0].X.Label.Text = "" // the last one's is for all
	}
	tiles := draw.Tiles{Rows: len(column), Cols: 1, PadY: 3 * vg.Millimeter, PadLeft: 2 * vg.Millimeter, PadBottom: 2 * vg.Millimeter}
	canvases := plot.Align(column, tiles, draw.Crop(body, 0, -legendWidth, 0, 0))
	for i, row := range column {
		row[0].Draw(canvases[i][0])
	}
}

func drawTitle(c draw.Canvas, report load.Report, options Options) {
	title := options.Title
	if title == "" {
		title = "Latency under load"
	}
	left, top := c.Min.X+2*vg.Millimeter, c.Max.Y-2*vg.Millimeter
	c.FillText(textStyle(13, muted), vg.Point{X: left, Y: top}, title)
	c.FillText(textStyle(9, muted), vg.Point{X: left, Y: top - 6*vg.Millimeter}, subtitle(report))
}

// subtitle says what the picture is of, so that it can stand alone.
func subtitle(report load.Report) string {
	text := fmt.Sprintf("%s requests in %.0f s, %s failed", thousands(report.Requests), report.DurationSeconds, thousands(report.Failed))
	if report.Unfinished > 0 {
		text += fmt.Sprintf(", %s unfinished", thousands(report.Unfinished))
	}
	return text + fmt.Sprintf("; every request counted from when it was due; one point per %.0f ms", report.BucketSeconds*1000)
}

// thousands writes 1234567 as 1,234,567.
func thousands(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
