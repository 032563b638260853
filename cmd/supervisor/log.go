package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"example.com/supervisor/cmd/supervisor/internal/config"
)

// rememberedLines is how many lines of the log are remembered.
const rememberedLines = 256

// ownLog passes the log on and remembers its last lines, so that they can be
// told from those of the generations, which write to the same file. Its methods
// may be called concurrently.
type ownLog struct {
	out io.Writer

	mu    sync.Mutex
	lines []string // a ring once it is full
	next  int
}

// Write writes whole lines: a record each, as package slog does.
func (l *ownLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(text)) {
		l.remember(strings.TrimSuffix(line, "\n"))
	}
	return l.out.Write(text)
}

func (l *ownLog) remember(line string) {
	if len(l.lines) < rememberedLines {
		l.lines = append(l.lines, line)
		return
	}
	l.lines[l.next] = line
	l.next = (l.next + 1) % rememberedLines
}

// wrote tells whether line is one of those remembered.
func (l *ownLog) wrote(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.lines, line)
}

// newLogger writes one line per step to out.
func newLogger(cfg config.Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
