package demo

import (
	"errors"
	"fmt"
	"io"

	"example.com/supervisor/internal/load/plot"
)

// WritePlot draws latency and the accept queue over time with the upgrades
// marked, as SVG.
func (r Result) WritePlot(w io.Writer) error {
	if r.report == nil {
		return errors.New("no traffic was sent: nothing to draw")
	}
	queue := plot.Queue{Limit: r.QueueLimit}
	for _, p := range r.Queue {
		queue.Points = append(queue.Points, plot.QueuePoint{AtSeconds: p.Seconds, Depth: p.Depth})
	}
	return plot.SVG(w, *r.report, plot.Options{
		Title: fmt.Sprintf("supervisor demo: %d upgrades of a service under load", len(r.Upgrades)),
		Queue: queue,
	})
}
