package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// logPatience is how long a line of the log waits for whoever reads it.
	logPatience = time.Second
	// logBacklog is how many lines are kept for a reader that has stopped.
	logBacklog = 1024
)

// A patientWriter passes whole lines on to a writer that may block for ever, as a
// terminal that was stopped or a pipe that nobody reads: its trouble must not be
// the service's. A line is written when Write returns, unless that would take
// longer than logPatience. From then on lines wait for the reader and nobody for
// them; those that find no room are lost, which is said once there is room. Write
// may be called concurrently.
type patientWriter struct {
	out   io.Writer
	lines chan line
	ended chan struct{}

	mu    sync.Mutex // keeps the order of lines
	stuck atomic.Bool
	lost  atomic.Int64
}

type line struct {
	text    []byte
	written chan struct{} // closed
}

// newPatientWriter starts a goroutine, which end joins.
func newPatientWriter(out io.Writer) *patientWriter {
	w := &patientWriter{out: out, lines: make(chan line, logBacklog), ended: make(chan struct{})}
	go w.pass()
	return w
}

// Write always succeeds.
func (w *patientWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := line{bytes.Clone(text), make(chan struct{})}
	select {
	case w.lines <- l:
	default:
		w.lost.Add(1)
		return len(text), nil
	}
	if w.stuck.Load() {
		return len(text), nil
	}
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	select {
	case <-l.written:
	case <-timer.C:
		w.stuck.Store(true)
	}
	return len(text), nil
}

// pass writes the lines until end.
func (w *patientWriter) pass() {
	defer close(w.ended)
	for l := range w.lines {
		_, _ = w.out.Write(l.text)
		close(l.written)
		if len(w.lines) > 0 {
			continue
		}
		w.stuck.Store(false)
		if n := w.lost.Swap(0); n > 0 {
			fmt.Fprintf(w.out, "%d lines of the log are lost here: nobody read them\n", n)
		}
	}
}

// end waits for the last lines, for logPatience at most. No Write follows.
func (w *patientWriter) end() {
	close(w.lines)
	select {
	case <-w.ended:
	case <-time.After(logPatience):
	}
}
