package main

import (
	"log/slog"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
)

// FuzzParseTicks: a process may call itself anything, and nothing in its name is
// taken for its start time.
func FuzzParseTicks(f *testing.F) {
	const rest = ") S 17 3 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 10 20"
	f.Add([]byte("42 (web" + rest))
	f.Add([]byte(")"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if ticks, err := parseTicks(text); err != nil && ticks != 0 && ticks != 1<<64-1 { // what is too large
			t.Errorf("%d beside %v", ticks, err)
		}
		stat := append(append([]byte("42 ("), text...), rest...)
		if ticks, err := parseTicks(stat); err != nil || ticks != 987654321 {
			t.Errorf("a process called %q: %d, %v", text, ticks, err)
		}
	})
}

// FuzzExcerpt: of a binary that is tried out no more is kept than that, and its
// complaint is one line.
func FuzzExcerpt(f *testing.F) {
	f.Add([]byte("error: cannot\n"), []byte("panic: at the disco\n\ngoroutine 1 [running]:\n"), true)
	f.Add([]byte("\n\n"), []byte{}, false)
	f.Fuzz(func(t *testing.T, first, second []byte, end bool) {
		e := &excerpt{end: end}
		for range 3 {
			_, _ = e.Write(first)
			_, _ = e.Write(second)
		}
		if len(e.text) > mostSaid {
			t.Errorf("%d bytes are kept", len(e.text))
		}
		if words := e.words(); strings.Contains(words, "\n") {
			t.Errorf("%q is not one line", words)
		}
	})
}

// FuzzTotals: what was counted of the queues is whatever another version wrote,
// and every generation that lives is in it afterwards.
func FuzzTotals(f *testing.F) {
	f.Add([]byte(`{"counts":{"1":[{"name":"http"}]},"start":null}`))
	f.Add([]byte(`{"counts":null}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		left := handover.State{Queues: text, Supervisor: upgrade.State{Generations: []upgrade.ProcessState{{Generation: 3}}}}
		o := &origin{state: &left}
		if _, known := o.totals(slog.New(slog.DiscardHandler)).Counts[3]; !known {
			t.Error("generation 3 is not in it")
		}
	})
}
