// Package plot draws a load report: latency over time with the marked events.
package plot

import (
	"io"

	"example.com/supervisor/internal/load"
)

// Options say what to draw.
type Options struct {
	// Title is written above the picture.
	Title string
	// Traffic names the traffic to draw, one panel each; all open loops by
	// default.
	Traffic []string
}

// SVG writes the picture as SVG, with a transparent background that reads on
// white and on dark pages.
func SVG(w io.Writer, report load.Report, options Options) error { return nil }
