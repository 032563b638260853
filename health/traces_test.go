package health

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the decisions in testdata/traces, and the figures of those that are simulated")

// traceWindow is the gate's.
const traceWindow = 100 * time.Millisecond

// A trace is a file that a person can read: what was seen of one queue, row by
// row, and before it what was decided.
type trace struct {
	story   []string // lines that begin with #
	watched Watched
	decided []string // lines that begin with gate or bake
	rows    []Observation
}

const traceColumns = "ms       depth  limit  drops       head     arrivals"

// TestTraces plays recorded queues to the deciders. With -update it writes what
// they decide into the files, to be read before it is committed.
func TestTraces(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		names[strings.TrimSuffix(filepath.Base(file), ".txt")] = true
	}
	for name := range simulated {
		names[name] = true
	}
	for name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playTrace(t, name)
		})
	}
}

func playTrace(t *testing.T, name string) {
	file := filepath.Join("testdata/traces", name+".txt")
	var tr trace
	if s, ok := simulated[name]; ok && *update {
		tr = s.record()
	} else {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if tr, err = parseTrace(string(text)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	got := tr.play()
	if *update {
		tr.decided = got
		if err := os.WriteFile(file, []byte(tr.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if g, w := strings.Join(got, "\n"), strings.Join(tr.decided, "\n"); g != w {
		t.Errorf("decided\n%s\nwant\n%s", g, w)
	}
}

// play tells when the deciders changed their mind, and why.
func (tr trace) play() (decided []string) {
	watched := []Watched{tr.watched}
	gate, bake := NewGate(watched, traceWindow), NewBake(watched)
	wasOpen, tripped := false, false
	var last string
	say := func(o Observation, what string, f Finding) {
		decided = append(decided, fmt.Sprintf("%s at %s: %v", what, milliseconds(o.At), f))
	}
	for _, o := range tr.rows {
		obs := []Observation{o}
		f, open := gate.Observe(obs)
		switch last = f.String(); {
		case open && !wasOpen:
			say(o, "gate opens", f)
		case !open && wasOpen:
			say(o, "gate closes", f)
		}
		wasOpen = open
		if f, now := bake.Observe(obs); now && !tripped {
			tripped = true
			say(o, "bake trips", f)
		}
	}
	if !wasOpen {
		decided = append(decided, "gate is closed: "+last)
	}
	if !tripped {
		decided = append(decided, "bake does not trip")
	}
	return decided
}

func (tr trace) String() string {
	var b strings.Builder
	for _, line := range tr.story {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "\nwatched %s\n", watchedText(tr.watched))
	for _, line := range tr.decided {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "\n%s\n", traceColumns)
	for _, o := range tr.rows {
		fmt.Fprintln(&b, rowText(o))
	}
	return b.String()
}

func watchedText(w Watched) string {
	words := []string{w.Name}
	if w.Tolerant {
		words = append(words, "tolerant")
	}
	if b := w.Baseline; b.Known {
		words = append(words, fmt.Sprintf("depth=%d", b.Depth), fmt.Sprintf("head=%v", b.Head))
		if b.Dropping {
			words = append(words, "dropping")
		}
	}
	return strings.Join(words, " ")
}

// rowText is one look. What is not known is "-", and so is the limit of a
// socket that does not listen.
func rowText(o Observation) string {
	limit, head, arrivals := fmt.Sprint(o.Limit), "-", "-"
	if !o.Listening {
		limit = "-"
	}
	if o.HeadKnown {
		head = milliseconds(o.Head)
	}
	if o.Arrivals >= 0 {
		arrivals = strconv.FormatFloat(o.Arrivals, 'f', 0, 64)
	}
	return strings.TrimRight(fmt.Sprintf("%-8s %-6d %-6s %-11d %-8s %s", milliseconds(o.At), o.Depth, limit, o.Drops, head, arrivals), " ")
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64)
}

func parseTrace(text string) (tr trace, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "ms":
		case "#":
			tr.story = append(tr.story, line)
		case "gate", "bake":
			tr.decided = append(tr.decided, line)
		case "watched":
			err = tr.parseWatched(rest)
		default:
			var o Observation
			o, err = parseRow(strings.Fields(line))
			tr.rows = append(tr.rows, o)
		}
		if err != nil {
			return tr, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return tr, nil
}

func (tr *trace) parseWatched(text string) (err error) {
	w := &tr.watched
	for i, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case i == 0:
			w.Name = word
		case key == "tolerant":
			w.Tolerant = true
		case key == "dropping":
			w.Baseline.Dropping = true
		case key == "depth":
			w.Baseline.Known = true
			_, err = fmt.Sscan(value, &w.Baseline.Depth)
		case key == "head":
			w.Baseline.Head, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown word %q", word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseRow(fields []string) (o Observation, err error) {
	if len(fields) != 6 {
		return o, fmt.Errorf("%d columns, want 6", len(fields))
	}
	number := func(i int) float64 {
		if err != nil || fields[i] == "-" {
			return -1
		}
		var f float64
		f, err = strconv.ParseFloat(fields[i], 64)
		return f
	}
	ms := func(i int) time.Duration { return time.Duration(number(i) * float64(time.Millisecond)) }
	o.At, o.Depth, o.Drops, o.Arrivals = ms(0), uint32(number(1)), uint32(number(3)), number(5)
	if o.Listening = fields[2] != "-"; o.Listening {
		o.Limit = uint32(number(2))
	}
	if o.HeadKnown = fields[4] != "-"; o.HeadKnown {
		o.Head = ms(4)
	}
	return o, err
}
