package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/figures"
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
		address, r.Machine, figures.Grouped(uint64(s.NewConnectionsPerSecond)), s.KeepAliveClients, s.KeepAlivePerSecond,
		s.SlowRequests, seconds(s.SlowSeconds), s.Streams, seconds(s.StreamSeconds))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// progress is the live line.
func (p *performance) progress(doing string) string {
	return figures.Progress(p.traffic.Snapshot(), doing)
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
	sum := figures.Sum{Counts: r.Counts, FailedByKind: r.FailedByKind}
	figures.WriteTraffic(b, r.Traffic, sum, seconds(r.Settings.AfterUpgradeSeconds))
}

// rows are what is shown of the upgrades.
func (r Result) rows() []figures.Row {
	var rows []figures.Row
	for _, u := range r.Upgrades {
		rows = append(rows, figures.Row{
			Number: u.Number, AtSeconds: u.AtSeconds, What: u.short(), Verdict: string(u.Verdict), Wrong: u.Verdict != u.Expected,
			DurationSeconds: u.DurationSeconds, StartupSeconds: u.StartupSeconds, Aftermath: u.Aftermath,
		})
	}
	return rows
}

func (r Result) writeUpgrades(b *strings.Builder) {
	figures.WriteAttempts(b, "version", r.rows())
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

func (r Result) writeVerdict(b *strings.Builder) {
	fmt.Fprintln(b)
	if r.OK {
		fmt.Fprintf(b, "OK: %s, 0 failed\n", figures.Requests(r.Requests))
		fmt.Fprintf(b, "    %d of %d versions committed, 1 aborted, 2 rolled back, as each deserved\n", r.Settings.Upgrades, len(r.Upgrades))
		fmt.Fprintf(b, "    at most %s connections waited to be accepted, and none was dropped\n", figures.Grouped(uint64(figures.Deepest(r.Queue, r.rows()))))
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
