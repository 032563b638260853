package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// opening says what is about to happen.
func opening(r *Result, address string) string {
	s := r.Settings
	return fmt.Sprintf(`a supervisor and an example service are up at %s
on %s
clients open %s connections a second for one request each, and %d keep theirs
for %.0f requests a second; %d slow requests of %v and %d streams of %v are
always in flight; nothing is sent twice`,
		address, r.Machine, grouped(uint64(s.NewConnectionsPerSecond)), s.KeepAliveClients, s.KeepAlivePerSecond,
		s.SlowRequests, seconds(s.SlowSeconds), s.Streams, seconds(s.StreamSeconds))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// progress is the live line.
func (p *performance) progress(doing string) string {
	now := p.traffic.Snapshot()
	text := fmt.Sprintf("%7.1f s  %s, %d failed, p99 %s ms", now.ElapsedSeconds, requests(now.Requests), now.Failed, significant(now.Traffic[0].Recent.P99MS))
	if doing != "" {
		text += "  " + doing
	}
	return text
}

// line is what is shown when the verdict is known.
func (u Upgrade) line() string {
	text := fmt.Sprintf("%7.1f s  upgrade %-3d %-22s %s", u.AtSeconds, u.Number, describe(u), u.Verdict)
	switch u.Verdict {
	case upgrade.Committed:
		text += fmt.Sprintf(": generation %d replaces %d", u.To, u.From)
	default:
		text += fmt.Sprintf(": generation %d stays", u.From)
	}
	if u.Verdict != u.Expected {
		text += fmt.Sprintf(" (NOT as expected: %s)", u.Expected)
	}
	return text
}

func describe(u Upgrade) string {
	return offer{version: u.Version, fault: u.Fault}.String()
}

// WriteTable writes the result for a person, at most 80 columns wide.
func (r Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	if r.report != nil && !r.Interrupted {
		r.writeTraffic(&b)
		r.writeUpgrades(&b)
	}
	r.writeVerdict(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Result) writeTraffic(b *strings.Builder) {
	const row = "%-15s%9s%7s%s%s"
	after := "second after upgrade"
	if s := seconds(r.Settings.AfterUpgradeSeconds); s != time.Second {
		after = fmt.Sprintf("%v after upgrade", s)
	}
	fmt.Fprintln(b)
	writeRow(b, row, "", "", "", centred("ms, steady"), centred("ms, "+after))
	columns := fmt.Sprintf("%6s%6s%6s%6s", "p50", "p99", "p99.9", "max")
	writeRow(b, row, "", "requests", "failed", columns, columns)
	for _, t := range r.Traffic {
		writeRow(b, row, t.Name, grouped(t.Requests), grouped(t.Failed), latencies(t.Steady), latencies(t.AfterUpgrade))
	}
	writeRow(b, row, "all", grouped(r.Requests), grouped(r.Failed), "  by kind: ", byKind(r.FailedByKind))
	for _, t := range r.Traffic {
		for _, kind := range t.Failures {
			for _, f := range kind.First {
				fmt.Fprintf(b, "  %s, %s at %.3f s: %s\n", t.Name, kind.Kind, f.AtSeconds, f.Error)
			}
		}
	}
}

func (r Result) writeUpgrades(b *strings.Builder) {
	const row = "%3s %5s %-14s %-11s %5s %5s %5s %5s %6s %5s %5s"
	fmt.Fprintf(b, "\n%47s %12s %18s\n", "seconds to", "accept queue", "requests after it")
	writeRow(b, row, "", "at s", "version", "verdict", "end", "ready", "most", "ms", "failed", "p99", "max")
	for _, u := range r.Upgrades {
		verdict := string(u.Verdict)
		if u.Verdict != u.Expected {
			verdict += " !"
		}
		writeRow(b, row, fmt.Sprint(u.Number), fmt.Sprintf("%.1f", u.AtSeconds), u.short(), verdict,
			fmt.Sprintf("%.3f", u.DurationSeconds), startup(u), waiting(u), longestWait(u), grouped(u.Failed),
			significant(u.After.P99MS), significant(u.After.MaxMS))
	}
	fmt.Fprintf(b, `
Latency is counted from when a request was due; for slow requests and streams,
from when it was sent. Of the accept queue: the most connections that waited in
it, and the longest that one was seen to. The unhealthy version answers its
probe with 503 but serves its clients: requests in the hands of one that dies
are lost with it. The one that stalls is healthy by its probe, but accepts no
more: that shows in the accept queue alone.
Clients and service shared this machine:
%v
`, r.Machine)
}

// short is the version and what is wrong with it, in 14 columns.
func (u Upgrade) short() string {
	switch u.Fault {
	case Crash:
		return u.Version + ", crashes"
	case Sick:
		return u.Version + ", unhealthy"
	case Stall:
		return u.Version + ", stalls"
	}
	return u.Version
}

func waiting(u Upgrade) string {
	if u.QueueMaxDepth == nil {
		return "-"
	}
	return grouped(uint64(*u.QueueMaxDepth))
}

func longestWait(u Upgrade) string {
	if u.QueueMaxSojournMS == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f", *u.QueueMaxSojournMS) // in steps of milliseconds
}

// startup is how long the version took to become ready, if it did.
func startup(u Upgrade) string {
	if u.StartupSeconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", u.StartupSeconds)
}

func (r Result) writeVerdict(b *strings.Builder) {
	fmt.Fprintln(b)
	if r.OK {
		fmt.Fprintf(b, "OK: %s, 0 failed\n", requests(r.Requests))
		fmt.Fprintf(b, "    %d of %d versions committed, 1 aborted, 2 rolled back, as each deserved\n", r.Settings.Upgrades, len(r.Upgrades))
		fmt.Fprintf(b, "    at most %s connections waited to be accepted, and none was dropped\n", grouped(uint64(r.deepest())))
		fmt.Fprintf(b, "    no process and no file left behind\n")
		return
	}
	if r.Interrupted && len(r.LeftBehind) == 0 {
		fmt.Fprintln(b, "interrupted: nothing was judged; everything has been stopped and removed")
		return
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(b, "NOT OK: %s\n", problem)
	}
	if r.log != "" && !r.Interrupted {
		fmt.Fprintf(b, "\nthe end of the supervisor's log:\n%s", r.log)
	}
}

// latencies fills 24 columns.
func latencies(l load.Latency) string {
	if l.Count == 0 {
		return strings.Repeat(fmt.Sprintf("%6s", "-"), 4)
	}
	return fmt.Sprintf("%6s%6s%6s%6s", significant(l.P50MS), significant(l.P99MS), significant(l.P999MS), significant(l.MaxMS))
}

// significant writes a number of milliseconds so that it is short.
func significant(ms float64) string {
	switch {
	case ms < 9.995:
		return fmt.Sprintf("%.2f", ms)
	case ms < 99.95:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
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
