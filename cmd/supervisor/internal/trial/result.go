package trial

import (
	"errors"
	"fmt"
	"io"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/load/plot"
)

// A Result is what came of a run, as --json prints it. Units are in the names
// of the fields.
type Result struct {
	// OK tells that there are no Problems.
	OK bool `json:"ok"`
	// Problems says in words what is not as it should be.
	Problems []string `json:"problems"`
	// Interrupted tells that the run was ended early by a signal.
	Interrupted bool         `json:"interrupted,omitempty"`
	Machine     load.Machine `json:"machine"`
	URL         string       `json:"url"`
	// DurationSeconds is how long requests were sent.
	DurationSeconds float64 `json:"duration_seconds"`
	// AfterUpgradeSeconds is how long after the beginning of an attempt a
	// request counts as influenced by it.
	AfterUpgradeSeconds float64 `json:"after_upgrade_seconds"`
	figures.Counts
	// Resent counts how often a request was sent again because the server said
	// by HTTP/2 that it had not processed it.
	Resent uint64 `json:"resent"`
	// FailedByKind has only the kinds that occurred.
	FailedByKind map[load.FailureKind]uint64 `json:"failed_by_kind"`
	Traffic      []figures.Traffic           `json:"traffic"`
	// Attempts are the upgrades, or the runs of a command.
	Attempts []Attempt `json:"upgrades"`
	// Answers counts the answers by the generation that they name.
	Answers map[string]uint64 `json:"answers_by_generation"`
	// Queue is the service's accept queue over time, if a supervisor told of
	// it. QueueLimit is what it was given, it holds one more; QueueDrops is how
	// many packets of clients that want to connect the kernel dropped.
	Queue      []figures.QueuePoint `json:"queue,omitempty"`
	QueueLimit uint32               `json:"queue_limit,omitempty"`
	QueueDrops uint64               `json:"queue_drops,omitempty"`
	// StartLag is how much later than due this side itself was in sending; it
	// is part of the latencies of the open loops.
	StartLag load.Latency `json:"start_lag"`

	report load.Report
	acts   bool // something was to be done to the service
}

func newResult(c Config) Result {
	return Result{
		Problems: []string{}, Attempts: []Attempt{}, Machine: load.ThisMachine(), URL: c.URL, acts: c.Every > 0,
		AfterUpgradeSeconds: max(c.Load.AfterEvent, 0).Seconds(),
	}
}

// take fills in what the traffic tells.
func (r *Result) take(report load.Report) {
	r.report = report
	r.DurationSeconds = report.DurationSeconds
	r.Counts = figures.CountsOf(report)
	r.Resent, r.FailedByKind, r.Answers, r.StartLag = report.Resent, report.FailedByKind, report.Generations, report.StartLag
	r.Traffic = figures.TrafficOf(report)
	for i := range r.Attempts { // both in the order of time
		r.Attempts[i].Take(report.Events[i])
	}
}

// watched fills in what a tape tells, which has been stopped.
func (r *Result) watched(t *figures.Tape) {
	r.Queue, r.QueueLimit, r.QueueDrops = t.Points(), t.Limit(), t.Drops()
}

// WritePlot draws latency over time with the attempts marked, and the accept
// queue if it was seen, as SVG.
func (r Result) WritePlot(w io.Writer) error {
	if r.Requests == 0 {
		return errors.New("no traffic was sent: nothing to draw")
	}
	options := plot.Options{Title: "supervisor load " + r.URL, Queue: plot.Queue{Limit: r.QueueLimit}}
	if n := len(r.Attempts); n > 0 {
		options.Title = fmt.Sprintf("%s: %s", options.Title, r.deeds())
	}
	for _, p := range r.Queue {
		options.Queue.Points = append(options.Queue.Points, plot.QueuePoint{AtSeconds: p.Seconds, Depth: p.Depth})
	}
	for _, t := range r.report.Traffic { // if there are closed loops alone, then those
		if len(t.Series) > 0 && t.Pattern != load.InFlight {
			return plot.SVG(w, r.report, options)
		}
	}
	for _, t := range r.report.Traffic {
		if len(t.Series) > 0 {
			options.Traffic = append(options.Traffic, t.Name)
		}
	}
	return plot.SVG(w, r.report, options)
}
