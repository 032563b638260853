package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
	"golang.org/x/term"
)

// tick is how often the live line is renewed.
const tick = 100 * time.Millisecond

// progress shows the steps of an attempt as they come: a line each, and in a
// terminal below them a live line with the phase that runs. It is used by one
// goroutine.
type progress struct {
	out   io.Writer
	json  bool
	width func() int // of the terminal; nil where there is none

	mu    sync.Mutex // guards what follows
	last  *upgrade.Step
	since time.Time // when last came

	stop   chan struct{}
	ticker sync.WaitGroup
}

func newProgress(out io.Writer, json bool) *progress {
	p := &progress{out: out, json: json, width: widthOf(out), stop: make(chan struct{})}
	if p.width != nil && !json {
		p.ticker.Go(p.renew)
	}
	return p
}

// widthOf tells the width of out if it is a terminal.
func widthOf(out io.Writer) func() int {
	file, ok := out.(*os.File)
	if !ok {
		return nil
	}
	fd := int(file.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(fd)
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}
}

// line shows one line of the answer, as received and as decoded.
func (p *progress) line(raw []byte, l control.Line) {
	if p.json {
		fmt.Fprintf(p.out, "%s\n", raw)
		return
	}
	if l.Step == nil && l.Note == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if l.Step == nil {
		fmt.Fprintln(p.out, l.Note)
		return
	}
	fmt.Fprintln(p.out, stepInWords(*l.Step))
	p.last, p.since = l.Step, time.Now()
}

// stepInWords is for example " 0.213 s  gate       generation 2: ...".
func stepInWords(s upgrade.Step) string {
	text := s.Text
	if s.Generation > 0 && !strings.HasSuffix(text, "?") {
		text = fmt.Sprintf("generation %d %s", s.Generation, text)
	}
	return fmt.Sprintf("%8.3f s  %-9s  %s", s.ElapsedSeconds, s.Phase, text)
}

// close ends the live line. It is called once.
func (p *progress) close() {
	close(p.stop)
	p.ticker.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// renew writes the live line until close.
func (p *progress) renew() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-ticker.C:
			p.live(now)
		}
	}
}

// live writes the live line as of now.
func (p *progress) live(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return
	}
	elapsed := p.last.ElapsedSeconds + now.Sub(p.since).Seconds()
	p.erase()
	fmt.Fprint(p.out, cutTo(fmt.Sprintf("%10.1f s  %s ...", elapsed, p.last.Phase), p.width()-1))
}

// erase removes the live line, if there is one.
func (p *progress) erase() {
	if p.width != nil && !p.json {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func cutTo(text string, width int) string {
	for utf8.RuneCountInString(text) > max(width, 0) {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return strings.TrimRight(text, " ")
}
