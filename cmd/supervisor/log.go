package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

// rememberedLines is how many lines of the log are remembered.
const rememberedLines = 256

// journalName is whose the supervisor's own entries in the journal are. What the
// program writes has the name of the service: SyslogIdentifier= in its unit.
const journalName = "supervisor"

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

// newLogger writes one line per step to out; or to the journal with fields, if
// that is where standard error goes and no other format is asked for. A journal
// that cannot be reached so, as from a root directory of the unit's own, still has
// the lines.
func newLogger(cfg config.Config, out io.Writer, getenv func(string) string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: cfg.Level()}
	switch cfg.LogFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	case "auto":
		if !systemd.JournalStream(os.Stderr, getenv) {
			break
		}
		fallthrough
	case "journal":
		handler, err := systemd.NewJournalHandler(journalName, cfg.Level())
		if err == nil {
			return slog.New(verdictHandler{handler}), nil
		}
		if cfg.LogFormat == "journal" {
			return nil, fmt.Errorf("%w; try --log-format=text", err)
		}
	}
	return slog.New(slog.NewTextHandler(out, options)), nil
}

// verdictIDs are the MESSAGE_ID= of verdicts, by which journalctl finds them
// (systemd.journal-fields(7)).
func verdictID(v upgrade.Verdict) (id string, ok bool) {
	switch v {
	case upgrade.Committed:
		return "4233dcde48844f9294ba6517242857d8", true
	case upgrade.RolledBack:
		return "b685021ce2534790a80b416b5f7c2a24", true
	case upgrade.Aborted:
		return "f77fecb2501645519a25f6850486fbee", true
	case upgrade.Refused:
		return "fb92d95dcf10434ab54b9b3268d9a3d7", true
	}
	return "", false
}

// verdictHandler adds the identity of the message to lines that tell a verdict.
type verdictHandler struct{ slog.Handler }

// Handle looks for the attribute verdict.
func (h verdictHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "verdict" {
			return true
		}
		if id, ok := verdictID(upgrade.Verdict(a.Value.String())); ok {
			r = r.Clone()
			r.AddAttrs(slog.String("message_id", id))
		}
		return false
	})
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps what Handle does.
func (h verdictHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return verdictHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps what Handle does.
func (h verdictHandler) WithGroup(name string) slog.Handler {
	return verdictHandler{h.Handler.WithGroup(name)}
}
