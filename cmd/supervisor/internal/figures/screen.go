package figures

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

// A Screen shows lines as they come, and in a terminal below them a line that
// is always renewed. Its methods may be called concurrently.
type Screen struct {
	out   io.Writer
	width func() int // of the terminal; nil where there is none

	mu   sync.Mutex
	text func() string // of the live line

	stop   chan struct{}
	drawer sync.WaitGroup
}

// NewScreen returns a screen that must be closed. With a nil out it shows
// nothing.
func NewScreen(out io.Writer) *Screen {
	if out == nil {
		out = io.Discard
	}
	s := &Screen{out: out, width: widthOf(out), stop: make(chan struct{}), text: func() string { return "" }}
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

// Line shows a line for good.
func (s *Screen) Line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintln(s.out, text)
	s.draw()
}

// Live says what the live line is from now on. text must not use the screen.
func (s *Screen) Live(text func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

// Close removes the live line.
func (s *Screen) Close() {
	close(s.stop)
	s.drawer.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

func (s *Screen) redraw() {
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

func (s *Screen) erase() {
	if s.width != nil {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

func (s *Screen) draw() {
	if s.width != nil {
		text := []rune(s.text())
		fmt.Fprint(s.out, "\r\x1b[K", string(text[:min(len(text), max(s.width()-1, 0))]))
	}
}
