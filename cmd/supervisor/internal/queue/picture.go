package queue

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Picture is one round of figures that can be shown: a Snapshot or a Survey.
type Picture interface {
	// At is when it was taken.
	At() time.Time
	title() string
	table() table
	foot() []string
}

// A Style is how a line stands out on a screen.
type Style int

const (
	// Plain is as any text.
	Plain Style = iota
	// Heading is the first line, and that of a table.
	Heading
	// Alarm is about trouble.
	Alarm
	// Faint is what matters less.
	Faint
)

// A Line is one line of text that is free of control characters.
type Line struct {
	Text  string
	Style Style
}

// A Look says how a picture is shown.
type Look struct {
	// Width is that of the screen; 0 is any.
	Width int
	// History draws a line for each queue, if there is one.
	History *History
	// ASCII does without other characters.
	ASCII bool
}

// anyWidth is wider than all that there is to show.
const anyWidth = 1 << 16

// Lines shows all of p.
func Lines(p Picture, look Look) []Line {
	width := look.Width
	if width <= 0 {
		width = anyWidth
	}
	lines := []Line{{p.title(), Heading}, {}}
	lines = append(lines, tableLines(p.table(), look, width)...)
	if foot := p.foot(); len(foot) > 0 {
		lines = append(lines, Line{})
		for _, text := range foot {
			lines = append(lines, wrap(text, "", width, Faint)...)
		}
	}
	for i := range lines {
		lines[i].Text = clip(lines[i].Text, width)
	}
	return lines
}

func tableLines(t table, look Look, width int) []Line {
	if len(t.rows) == 0 {
		return []Line{{"no listeners", Plain}}
	}
	keep, widths := t.fit(width)
	lines := []Line{{t.text(t.titles(), keep, widths), Heading}}
	for _, r := range t.rows {
		style := Plain
		if len(r.trouble) > 0 {
			style = Alarm
		}
		lines = append(lines, Line{t.text(r.cells, keep, widths), style})
		for _, trouble := range r.trouble {
			lines = append(lines, wrap("! "+trouble.Text, indent, width, Alarm)...)
		}
		for _, note := range r.notes {
			lines = append(lines, wrap(note, indent, width, Plain)...)
		}
		if line := historyLine(r.key, look, width); line != "" {
			lines = append(lines, Line{line, style})
		}
	}
	return lines
}

// indent is before what is said below a row.
const indent = "  "

// wrap breaks a text at spaces so that it fits, if it can; all lines begin with
// before, and all but the first are indented more.
func wrap(text, before string, width int, style Style) []Line {
	var lines []Line
	line := before + leading(text)
	blank := true // nothing but its indentation is in the line
	for word := range strings.FieldsSeq(text) {
		if !blank && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, Line{line, style})
			line, blank = before+leading(text)+indent, true
		}
		if !blank {
			line += " "
		}
		line, blank = line+word, false
	}
	return append(lines, Line{line, style})
}

// leading are the spaces that a text begins with.
func leading(text string) string { return text[:len(text)-len(strings.TrimLeft(text, " "))] }

// historyLine is the line of a queue in which anything has waited.
func historyLine(key string, look Look, width int) string {
	if look.History == nil {
		return ""
	}
	const labelWidth = len("  peak 4294967295")
	line, peak := look.History.line(key, width-len(indent)-labelWidth, look.ASCII)
	if peak == 0 {
		return ""
	}
	return fmt.Sprintf("%s%s  peak %d", indent, line, peak)
}

// WriteText writes all of p for a person.
func WriteText(out io.Writer, p Picture) error {
	_, err := io.WriteString(out, plain(Lines(p, Look{})))
	return err
}

// plain joins lines without their styles.
func plain(lines []Line) string {
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.Text + "\n")
	}
	return text.String()
}

// WriteRows writes p as one line for each queue, with the time before it and
// the trouble behind it; with a heading the titles of the columns before them.
func WriteRows(out io.Writer, p Picture, heading bool) error {
	t, text := p.table(), strings.Builder{}
	var keep []int
	widths := t.widths()
	for i, c := range t.columns {
		keep = append(keep, i)
		widths[i] = max(widths[i], c.least)
	}
	if heading {
		fmt.Fprintf(&text, "%-12s%s%s\n", "TIME", gap, t.text(t.titles(), keep, widths))
	}
	for _, r := range t.rows {
		text.WriteString(clock(p.At()) + gap + t.text(r.cells, keep, widths))
		for i, trouble := range r.trouble {
			text.WriteString([]string{"  ! ", "; "}[min(i, 1)] + trouble.Text)
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func clock(at time.Time) string { return at.Local().Format("15:04:05.000") }
