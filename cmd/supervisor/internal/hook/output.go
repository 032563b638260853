package hook

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine is the length of the longest line that is told of, in bytes.
	maxLine = 512
	// maxLines is how many lines of one command are told of.
	maxLines = 200
	// lastLines is how many are kept for the reason of a failure.
	lastLines = 5
)

// output is an io.Writer that tells of what is written to it line by line, and
// keeps the last ones. It may be written to concurrently.
type output struct {
	tell func(line string)

	mu    sync.Mutex
	line  []byte // the beginning of the one that is being written
	long  bool   // and it has been cut
	told  int
	last  []string
	ended bool
}

// Write takes p, and never refuses it.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return len(p), nil
	}
	for _, c := range p {
		switch {
		case c == '\n':
			o.flush()
		case len(o.line) < maxLine:
			o.line = append(o.line, c)
		default:
			o.long = true
		}
	}
	return len(p), nil
}

func (o *output) flush() {
	text := strings.TrimSpace(plain(string(o.line)))
	if o.long {
		text += " ..."
	}
	o.line, o.long = o.line[:0], false
	if text == "" {
		return
	}
	o.last = append(o.last, text)
	o.last = o.last[max(0, len(o.last)-lastLines):]
	if o.told++; o.told <= maxLines {
		o.tell(text)
	}
}

// end tells of what has no end of line, and of how much was not told. What comes
// after it is nobody's.
func (o *output) end() (last string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	if more := o.told - maxLines; more > 0 {
		o.tell(fmt.Sprintf("... and %d lines more", more))
	}
	o.ended = true
	return strings.Join(o.last, " | ")
}

// plain is text without what could do something to a terminal or to a log.
func plain(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "?")
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, text)
}
