package trial

import (
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/figures"
)

// line is what is shown when the verdict is known.
func (a Attempt) line() string {
	text := fmt.Sprintf("%7.1f s  %-3d %-14s  %s, %.3f s", a.AtSeconds, a.Number, a.What, a.Verdict, a.DurationSeconds)
	if !a.OK {
		text += ": " + a.Reason
	}
	return text
}

// WriteTable writes the result for a person, at most 79 columns wide but for
// what others said.
func (r Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	sum := figures.Sum{Counts: r.Counts, Resent: r.Resent, FailedByKind: r.FailedByKind}
	var after time.Duration
	if len(r.Attempts) > 0 {
		after = time.Duration(r.AfterUpgradeSeconds * float64(time.Second))
	}
	figures.WriteTraffic(&b, r.Traffic, sum, after)
	if len(r.Attempts) > 0 {
		figures.WriteAttempts(&b, "to", r.rows())
	}
	fmt.Fprintf(&b, `
Latency is counted from when a request was due; for slow requests and streams,
from when it was sent. This side ran on:
%v
`, r.Machine)
	r.writeLateness(&b)
	r.writeVerdict(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// late is from which start lag on, of one request in a hundred, the reader should
// know of it: pauses of a machine that has time to spare are shorter.
const late = 10 * time.Millisecond

// writeLateness tells where this side did not keep the times of the requests, so
// that nobody takes its own limit for that of the service.
func (r Result) writeLateness(b *strings.Builder) {
	if r.StartLag.P99MS < float64(late.Milliseconds()) {
		return
	}
	fmt.Fprintf(b, `This side could not keep its times: one request in a hundred was %.0f ms late or
more, at most %.0f ms, which is part of the latencies. Lower the rates, or send
from a machine with time to spare.
`, r.StartLag.P99MS, r.StartLag.MaxMS)
}

// rows are what is shown of the attempts.
func (r Result) rows() []figures.Row {
	var rows []figures.Row
	for _, a := range r.Attempts {
		rows = append(rows, figures.Row{
			Number: a.Number, AtSeconds: a.AtSeconds, What: a.What, Verdict: a.Verdict, Wrong: !a.OK,
			DurationSeconds: a.DurationSeconds, StartupSeconds: a.StartupSeconds, Aftermath: a.Aftermath,
		})
	}
	return rows
}

func (r Result) writeVerdict(b *strings.Builder) {
	fmt.Fprintln(b)
	if r.Interrupted {
		fmt.Fprintf(b, "interrupted after %.1f s\n", r.DurationSeconds)
	}
	if !r.OK {
		for _, problem := range r.Problems {
			fmt.Fprintf(b, "NOT OK: %s\n", problem)
		}
		return
	}
	fmt.Fprintf(b, "OK: %s, 0 failed\n", figures.Requests(r.Requests))
	if n := len(r.Attempts); n > 0 {
		fmt.Fprintf(b, "    %s\n", r.deeds())
	}
	if len(r.Queue) > 0 {
		fmt.Fprintf(b, "    at most %s waited to be accepted, %s dropped\n", figures.Grouped(uint64(figures.Deepest(r.Queue, r.rows()))), figures.Grouped(r.QueueDrops))
	}
}

// deeds is for example "5 times committed, 1 time refused".
func (r Result) deeds() string {
	counts := map[string]int{}
	var order []string
	for _, a := range r.Attempts {
		if counts[a.Verdict] == 0 {
			order = append(order, a.Verdict)
		}
		counts[a.Verdict]++
	}
	var parts []string
	for _, verdict := range order {
		parts = append(parts, fmt.Sprintf("%d %s", counts[verdict], verdict))
	}
	return strings.Join(parts, ", ")
}
