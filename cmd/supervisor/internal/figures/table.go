package figures

import (
	"fmt"
	"strings"
	"time"

	"example.com/supervisor/internal/load"
)

// A Sum is what all traffic came to together.
type Sum struct {
	Counts
	Resent       uint64
	FailedByKind map[load.FailureKind]uint64
}

// WriteTraffic writes the table of the traffic, and below it the first failures
// of each kind. after is how long an upgrade has an influence; 0 if there was
// none.
func WriteTraffic(b *strings.Builder, traffic []Traffic, sum Sum, after time.Duration) {
	const row = "%-15s %8s %6s%s%s"
	header := ""
	columns := fmt.Sprintf("%6s%6s%6s%6s", "p50", "p99", "p99.9", "max")
	second := columns
	switch after {
	case 0:
		second = ""
	case time.Second:
		header = centred("ms, second after upgrade")
	default:
		header = centred(fmt.Sprintf("ms, %v after upgrade", after))
	}
	fmt.Fprintln(b)
	writeRow(b, row, "", "", "", centred("ms, steady"), header)
	writeRow(b, row, "", "requests", "failed", columns, second)
	for _, t := range traffic {
		disturbed := ""
		if after > 0 {
			disturbed = latencies(t.AfterUpgrade)
		}
		writeRow(b, row, t.Name, Grouped(t.Requests), Grouped(t.Failed), latencies(t.Steady), disturbed)
	}
	writeRow(b, row, "all", Grouped(sum.Requests), Grouped(sum.Failed), "  by kind: ", ByKind(sum.FailedByKind))
	if sum.Resent > 0 {
		fmt.Fprintf(b, "%s resent: by HTTP/2 the server said that it had not processed them\n", Requests(sum.Resent))
	}
	writeFailures(b, traffic)
}

func writeFailures(b *strings.Builder, traffic []Traffic) {
	for _, t := range traffic {
		for _, kind := range t.Failures {
			for _, f := range kind.First {
				fmt.Fprintf(b, "  %s, %s at %.3f s: %s\n", t.Name, kind.Kind, f.AtSeconds, f.Error)
			}
		}
	}
}

// A Row is one thing that was done to the service, and what came of it.
type Row struct {
	Number    int
	AtSeconds float64
	// What has at most 14 columns, Verdict 11.
	What    string
	Verdict string
	// Wrong marks a verdict that is not as it should be.
	Wrong           bool
	DurationSeconds float64
	// StartupSeconds is 0 if it is not known.
	StartupSeconds float64
	Aftermath
}

// WriteAttempts writes the table of what was done to the service, with what as
// the name of the column What.
func WriteAttempts(b *strings.Builder, what string, rows []Row) {
	const row = "%3s %5s %-14s %-11s %5s %5s %5s %5s %6s %5s %5s"
	fmt.Fprintf(b, "\n%47s %12s %18s\n", "seconds to", "accept queue", "requests after it")
	writeRow(b, row, "", "at s", what, "verdict", "end", "ready", "most", "ms", "failed", "p99", "max")
	for _, r := range rows {
		verdict := r.Verdict
		if r.Wrong {
			verdict += " !"
		}
		p99, most := "-", "-"
		if r.After.Count > 0 {
			p99, most = significant(r.After.P99MS), significant(r.After.MaxMS)
		}
		writeRow(b, row, fmt.Sprint(r.Number), fmt.Sprintf("%.1f", r.AtSeconds), r.What, verdict,
			fmt.Sprintf("%.3f", r.DurationSeconds), startup(r), waiting(r), longestWait(r), Grouped(r.Failed), p99, most)
	}
}

func waiting(r Row) string {
	if r.QueueMaxDepth == nil {
		return "-"
	}
	return Grouped(uint64(*r.QueueMaxDepth))
}

func longestWait(r Row) string {
	if r.QueueMaxSojournMS == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f", *r.QueueMaxSojournMS) // in steps of milliseconds
}

// startup is how long the version took to become ready, if it did.
func startup(r Row) string {
	if r.StartupSeconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", r.StartupSeconds)
}

// latencies fills 24 columns.
func latencies(l load.Latency) string {
	if l.Count == 0 {
		return strings.Repeat(fmt.Sprintf("%6s", "-"), 4)
	}
	return fmt.Sprintf("%6s%6s%6s%6s", significant(l.P50MS), significant(l.P99MS), significant(l.P999MS), significant(l.MaxMS))
}

// centred puts text in the middle of the columns that latencies fills.
func centred(text string) string {
	const width = 24
	left := max(0, width-len(text)+1) / 2
	return fmt.Sprintf("%-*s", width, strings.Repeat(" ", left)+text)
}

// writeRow writes a line without blanks at its end.
func writeRow(b *strings.Builder, format string, columns ...any) {
	b.WriteString(strings.TrimRight(fmt.Sprintf(format, columns...), " ") + "\n")
}
