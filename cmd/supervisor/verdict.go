package main

import (
	"fmt"
	"strings"
	"time"

	"example.com/supervisor/upgrade"
)

// verdictStatus is the exit status that stands for a report.
func verdictStatus(r upgrade.Report) int {
	switch {
	case r.Verdict == upgrade.Committed && r.Drained && (r.Cut > 0 || r.CutUnknown):
		return exitCut
	case r.Verdict == upgrade.Committed, r.Verdict == upgrade.Admissible:
		return exitOK
	case r.Verdict == upgrade.Refused:
		return exitRefused
	case r.Verdict == upgrade.Aborted:
		return exitAborted
	case r.Verdict == upgrade.RolledBack:
		return exitRolledBack
	}
	return exitFailed // a verdict of another version
}

// verdictInWords is the last that an operator reads.
func verdictInWords(r upgrade.Report) string {
	text := fmt.Sprintf("%s: %s", r.Verdict, r.Reason)
	switch {
	case r.Verdict == upgrade.Committed && r.ToRelease != nil:
		text += fmt.Sprintf(" (%s)", r.ToRelease)
	case r.Verdict == upgrade.Aborted && r.Active > 0:
		text += fmt.Sprintf("; generation %d is active", r.Active)
	case r.Verdict == upgrade.Aborted:
		text += "; no generation is active, it is being restarted"
	}
	if r.DryRun {
		text = "dry run: " + text
	}
	lines := []string{text + ", " + inWords(r.DurationSeconds)}
	if r.Overruled != "" {
		is := "was"
		if r.DryRun {
			is = "would be"
		}
		lines = append(lines, "admission objected and "+is+" overruled: "+r.Overruled)
	}
	for _, h := range r.Hooks {
		if h.Error != "" && !strings.Contains(r.Reason, h.Error) {
			lines = append(lines, fmt.Sprintf("the hook %s failed: %s", h.Hook, h.Error))
		}
	}
	for _, q := range r.Queues {
		if tells(r.Verdict, q) {
			lines = append(lines, queueInWords(q))
		}
	}
	if r.CandidateAccepted > 0 || r.CandidateOpen > 0 {
		lines = append(lines, candidateInWords(r))
	}
	if r.Drained {
		lines = append(lines, drainInWords(r))
	}
	if len(r.Output) > 0 {
		lines = append(lines, fmt.Sprintf("the log since the start of generation %d ends:", r.To))
		for _, line := range r.Output {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// tells says whether q is worth a line: always where a candidate failed, never
// where none was started, since then the reason has said it all, else only if
// somebody had to wait.
func tells(v upgrade.Verdict, q upgrade.QueueAccount) bool {
	if v == upgrade.Refused || v == upgrade.Admissible {
		return false
	}
	return v == upgrade.Aborted || v == upgrade.RolledBack || q.MaxDepth > 0 || q.Drops != nil && *q.Drops > 0
}

// queueInWords is for example "queue http: at most 87 of 4096 waiting, longest
// wait 109 ms, no drops". It does not speak of a wait of 0: whoever waited did so
// for less than a jiffy, or nobody looked how long.
func queueInWords(q upgrade.QueueAccount) string {
	text := fmt.Sprintf("queue %s: at most %d of %d waiting", q.Listener, q.MaxDepth, q.Limit)
	if q.MaxDepth == 0 {
		text = fmt.Sprintf("queue %s: nothing waited", q.Listener)
	} else if q.MaxSojournSeconds != nil && *q.MaxSojournSeconds > 0 {
		text += ", longest wait " + inWords(*q.MaxSojournSeconds)
	}
	switch {
	case q.Drops == nil:
		return text
	case *q.Drops == 0:
		return text + ", no drops"
	case *q.Drops == 1:
		return text + ", 1 packet dropped"
	}
	return text + fmt.Sprintf(", %d packets dropped", *q.Drops)
}

// candidateInWords tells of the connections that a candidate took with it: of
// all, only they are in danger.
func candidateInWords(r upgrade.Report) string {
	if r.CandidateAccepted == 0 { // only what is open was counted, from outside
		return fmt.Sprintf("generation %d had %s open, which may be lost", r.To, connections(r.CandidateOpen))
	}
	text := fmt.Sprintf("generation %d had accepted %s", r.To, connections(int64(r.CandidateAccepted)))
	switch open := r.CandidateOpen; {
	case open <= 0:
		return text + ", of which none was open"
	case open == 1:
		return text + ", of which 1 was open: it may be lost"
	default:
		return text + fmt.Sprintf(", of which %d were open: these may be lost", open)
	}
}

// drainInWords tells of the end of the generation that lost its role.
func drainInWords(r upgrade.Report) string {
	ended := r.From
	if r.Verdict != upgrade.Committed {
		ended = r.To
	}
	text := fmt.Sprintf("generation %d has ended", ended)
	switch {
	case r.Cut > 0:
		text += fmt.Sprintf("; it cut %s", connections(int64(r.Cut)))
	case r.CutUnknown:
		text += "; connections may have been cut, it could not tell"
	}
	return text
}

// inWords writes a number of seconds as a person would.
func inWords(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
