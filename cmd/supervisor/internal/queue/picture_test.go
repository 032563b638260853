package queue

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/supervisor/internal/golden"
)

func TestPicturesForAPerson(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	show := func(what string, p Picture, look Look) {
		all.WriteString("==== " + what + "\n" + plain(Lines(p, look)))
	}
	history := new(History)
	for depth := range uint32(60) {
		s := snapshot()
		*s.Listeners[0].Depth = depth * depth / 10
		history.Add(s)
	}
	show("once", snapshot(), Look{})
	show("80 columns with history", snapshot(), Look{Width: 80, History: history})
	show("40 columns without Unicode", snapshot(), Look{Width: 40, History: history, ASCII: true})
	show("20 columns", Snapshot{Service: "web", Time: noon, Listeners: snapshot().Listeners[:2]}, Look{Width: 20})
	show("nothing", Snapshot{Service: "web", Time: noon}, Look{Width: 80})
	show("survey", someSurvey(), Look{Width: 80})
	show("survey, 50 columns", someSurvey(), Look{Width: 50})
	golden.Compare(t, *update, "pictures.txt", all.String())
}

func TestRowsForAPipe(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for i, p := range []Picture{snapshot(), snapshot(), someSurvey()} {
		if err := WriteRows(&all, p, i != 1); err != nil {
			t.Fatal(err)
		}
	}
	golden.Compare(t, *update, "rows.txt", all.String())
}

func TestSparkline(t *testing.T) {
	t.Parallel()
	for want, depths := range map[string][]uint32{
		"▁▂▃▄▅▆▇█": {1, 2, 3, 4, 5, 6, 7, 8},
		"·▁█":      {0, 1, 4096},
		"▁▁··":     {1, 1, 0, 0},
		"▄█":       {64, 128},
	} {
		h := new(History)
		for _, d := range depths {
			h.Add(Snapshot{Listeners: []Listener{{Name: "a", Queue: Queue{Depth: &d}}}})
		}
		if got, _ := h.line("a", 80, false); got != want {
			t.Errorf("%v: %q, want %q", depths, got, want)
		}
	}
}

func TestHistoryForgets(t *testing.T) {
	t.Parallel()
	h, depth := new(History), uint32(5)
	round := func(names ...string) Snapshot {
		var s Snapshot
		for _, name := range names {
			s.Listeners = append(s.Listeners, Listener{Name: name, Queue: Queue{Depth: &depth}})
		}
		return s
	}
	h.Add(round("a", "b"))
	h.Add(round("b"))
	h.Add(Snapshot{Listeners: []Listener{{Name: "b"}}}) // not known
	if line, _ := h.line("a", 80, false); line != "" {
		t.Errorf("a queue that is gone: %q", line)
	}
	if line, peak := h.line("b", 80, true); line != "++ " || peak != 5 {
		t.Errorf("%q, peak %d", line, peak)
	}
	for range 2 * historyLength {
		h.Add(round("b"))
	}
	if n := len(h.series["b"].depths); n != historyLength {
		t.Errorf("remembers %d rounds, want %d", n, historyLength)
	}
	if line, _ := h.line("b", 3, true); line != "+++" {
		t.Errorf("of a narrow line %q", line)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	for s, want := range map[float64]string{
		0: "0ms", -1: "0ms", 0.00001: "<0.1ms", 0.0004: "0.4ms", 0.004: "4ms", 0.00996: "10ms", 0.0123: "12ms", 0.9994: "999ms",
		0.9996: "1s", 1.25: "1.2s", 9.96: "10s", 45: "45s", 99.6: "2m", 3600: "60m", 24 * 3600: "24h",
	} {
		if got := span(s); got != want {
			t.Errorf("%v s: %s, want %s", s, got, want)
		}
	}
	for r, want := range map[float64]string{0: "0", 0.01: "<0.1", 0.5: "0.5", 9.96: "10", 512.4: "512", 99_999: "99999", 123_456: "123k", 2_500_000: "2.5M"} {
		if got := frequency(r); got != want {
			t.Errorf("%v a second: %s, want %s", r, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 9_999_999: "9999999", 12_345_678: "12.3M", 5_000_000_000: "5G"} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0%", 0.001: "<1%", 0.25: "25%", 1: "100%"} {
		if got := percent(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add("/run/\x1b[2Jx", 80)
	f.Add("@\xff\xfe\u202e", 3)
	f.Add(strings.Repeat("/long", 40), 24)
	f.Fuzz(func(t *testing.T, name string, width int) {
		width = 1 + (width%200+200)%200
		s, v := snapshot(), someSurvey()
		s.Service, s.Listeners[0].Name, s.Listeners[1].Address = name, name, name
		v.Listeners[0].Address, v.Listeners[1].Service = name, name
		history := new(History)
		history.Add(s)
		history.Add(v)
		for _, p := range []Picture{s, v} {
			for _, l := range Lines(p, Look{Width: width, History: history}) {
				if n := utf8.RuneCountInString(l.Text); n > width {
					t.Errorf("width %d: %d characters in %q", width, n, l.Text)
				}
				if strings.ContainsFunc(l.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("not printable: %q", l.Text)
				}
			}
		}
	})
}
