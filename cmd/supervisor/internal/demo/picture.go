package demo

import (
	"errors"
	"fmt"
	"io"

	"example.com/supervisor/internal/load/plot"
)

// WritePlot draws latency over time with the upgrades marked, as SVG.
func (r Result) WritePlot(w io.Writer) error {
	if r.report == nil {
		return errors.New("no traffic was sent: nothing to draw")
	}
	return plot.SVG(w, *r.report, plot.Options{
		Title: fmt.Sprintf("supervisor demo: %d upgrades of a service under load", len(r.Upgrades)),
	})
}
