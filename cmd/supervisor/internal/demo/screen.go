package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// redraw is how often the live line is renewed.
const redraw = 200 * time.Millisecond

// A screen shows lines as they come, and in a terminal below them a line that
// is always renewed. Its methods may be called concurrently.
type screen struct {
	out   io.Writer
	width func() int // of the terminal; nil where there is none

	mu   sync.Mutex
	text func() string // of the live line

	stop   chan struct{}
	drawer sync.WaitGroup
}

// newScreen returns a screen that must be closed. With a nil out it shows
// nothing.
func newScreen(out io.Writer) *screen {
	if out == nil {
		out = io.Discard
	}
	s := &screen{out: out, width: widthOf(out), stop: make(chan struct{}), text: func() string { return "" }}
	if s.width != nil {
		s.drawer.Go(s.redraw)
	}
	return s
}

// widthOf tells the width of out if it is a terminal.
func widthOf(out io.Writer) func() int {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}
}

// line shows a line for good.
func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintln(s.out, text)
	s.draw()
}

// live says what the live line is from now on. text must not use the screen.
func (s *screen) live(text func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// close removes the live line.
func (s *screen) close() {
	close(s.stop)
	s.drawer.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

func (s *screen) redraw() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.mu.Lock()
			s.draw()
			s.mu.Unlock()
		}
	}
}

func (s *screen) erase() {
	if s.width != nil {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

func (s *screen) draw() {
	if s.width != nil {
		text := []rune(s.text())
		fmt.Fprint(s.out, "\r\x1b[K", string(text[:min(len(text), max(s.width()-1, 0))]))
	}
}
