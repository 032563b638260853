// Package history keeps what became of the releases of a service, also over
// restarts and reboots: every first start, upgrade and rollback with its verdict,
// in one file of JSON lines.
//
// It guarantees that the file is bounded, that what cannot be read of it hinders
// nothing, and that no value of an environment gets into it. What a supervisor
// starts is decided by it, in [Decide].
package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"example.com/supervisor/upgrade"
)

// An Entry is how one start, upgrade or rollback ended.
type Entry struct {
	// At is when it was asked for.
	At      time.Time       `json:"at"`
	Service string          `json:"service"`
	Kind    upgrade.Kind    `json:"kind"`
	Verdict upgrade.Verdict `json:"verdict"`
	Reason  string          `json:"reason"`
	Note    string          `json:"note,omitempty"`
	// Request is its number in its supervisor; 0 for a start.
	Request uint64  `json:"request,omitempty"`
	From    int     `json:"from_generation,omitempty"`
	To      int     `json:"to_generation,omitempty"`
	Seconds float64 `json:"duration_seconds"`
	// Release is what was started, Was what ran; nil if there was none. Of their
	// environment they have the names alone, and what identifies it.
	Release *upgrade.Release `json:"release,omitempty"`
	Was     *upgrade.Release `json:"from_release,omitempty"`
}

// Of is the entry of a report.
func Of(service string, r upgrade.Report) Entry {
	r = r.Shown()
	return Entry{
		At: r.Started.Round(0), Service: service, Kind: r.Kind, Verdict: r.Verdict, Reason: r.Reason, Note: r.Note, Request: r.Request,
		From: r.From, To: r.To, Seconds: r.DurationSeconds, Release: r.ToRelease, Was: r.FromRelease,
	}
}

// is says whether both tell of the same.
func (e Entry) is(other Entry) bool {
	return e.Kind == other.Kind && e.Request == other.Request && e.At.Equal(other.At)
}

// usable says whether a line of a file was one that is written here.
func (e Entry) usable() bool {
	return !e.At.IsZero() && e.Kind != "" && e.Verdict != "" && (e.Release == nil || len(e.Release.Command) > 0 && e.Release.Path != "")
}

const (
	// maxLine is the length of the longest line, maxFile the size of a file at
	// which it is written anew with the latest entries alone, and maxRead that of
	// the largest which is read, in bytes.
	maxLine = 64 << 10
	maxFile = 1 << 20
	maxRead = 4 * maxFile
	// kept is the number of entries that are kept.
	kept = 250
)

// encode is the line of an entry, with its end.
func (e Entry) encode() ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if len(line) >= maxLine {
		return nil, fmt.Errorf("it has %d bytes, and %d is the limit", len(line), maxLine)
	}
	return append(line, '\n'), nil
}

// Parse reads the entries of one service, oldest first. damaged is the number of
// lines that are none: the last one is, where a system crashed in the midst of it.
func Parse(text []byte, service string) (entries []Entry, damaged int) {
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e Entry
		if len(line) >= maxLine || json.Unmarshal(line, &e) != nil || !e.usable() {
			damaged++
			continue
		}
		if service == "" || e.Service == service {
			entries = append(entries, e)
		}
	}
	return latest(entries), damaged
}

// latest are the entries that are kept: the last ones, and before them those by
// which two releases were committed, if they are older, for a rollback goes by
// them.
func latest(entries []Entry) []Entry {
	if len(entries) <= kept {
		return entries
	}
	old, last := entries[:len(entries)-kept], entries[len(entries)-kept:]
	var deciding []Entry
	for _, e := range slices.Backward(old) {
		if e.Verdict != upgrade.Committed || e.Release == nil || len(deciding) > 0 && deciding[0].Release.Same(*e.Release) {
			continue
		}
		if deciding = slices.Insert(deciding, 0, e); len(deciding) == 2 {
			break
		}
	}
	return append(deciding, last...)
}
