package systemd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// messageID is the key of the attribute that says of which kind an entry is
// (sd-id128(3)); in the journal it is MESSAGE_ID.
const messageID = "message_id"

// JournalStream reports whether a file, usually os.Stderr, is the journal's: it
// has the device and the inode of JOURNAL_STREAM (systemd.exec(5)). It borrows f.
func JournalStream(f *os.File, getenv func(string) string) bool {
	device, inode, ok := parseJournalStream(getenv("JOURNAL_STREAM"))
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Dev == device && st.Ino == inode
}

// parseJournalStream reads "DEVICE:INODE", both decimal.
func parseJournalStream(s string) (device, inode uint64, ok bool) {
	before, after, _ := strings.Cut(s, ":")
	device, err := strconv.ParseUint(before, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	inode, err = strconv.ParseUint(after, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	return device, inode, true
}

// journalHandler renders each record twice: as a line of text, for people, and
// as fields, by which the journal can be searched.
type journalHandler struct {
	sink  *journalSink
	level slog.Leveler
	lines *lines
	// text writes to lines; it has the attributes and groups given before.
	text slog.Handler
	// fields are those of the attributes given before, in their groups.
	fields fields
	groups []string
}

// NewJournalHandler returns a handler that writes to the journal natively. Each
// attribute becomes a field: generation is GENERATION, and size in the group
// memory is MEMORY_SIZE. A name that the journal uses itself, such as PRIORITY or
// SYSLOG_PID, or that it would not take gets SUPERVISOR_ before it. The attribute
// message_id becomes MESSAGE_ID.
//
// MESSAGE is the message and its attributes, as slog.TextHandler writes them, so
// that journalctl shows the whole; message_id is left out of it. identifier is
// the SYSLOG_IDENTIFIER, by which journalctl -t finds the entries. A level of nil
// is slog.LevelInfo.
//
// An entry waits up to a second for a journal that does not read and is then
// lost, so that its trouble is not the service's; while that goes on, others are
// lost at once. The handler may be used by several goroutines at once.
func NewJournalHandler(identifier string, level slog.Leveler) (slog.Handler, error) {
	return newJournalHandler(journalSocket, identifier, level)
}

func newJournalHandler(address, identifier string, level slog.Leveler) (slog.Handler, error) {
	sink := &journalSink{address: address}
	if err := sink.probe(); err != nil {
		return nil, fmt.Errorf("cannot log to the journal: %w", err)
	}
	if level == nil {
		level = slog.LevelInfo
	}
	h := &journalHandler{sink: sink, level: level, lines: &lines{}}
	h.fields.set("SYSLOG_IDENTIFIER", identifier)
	h.text = slog.NewTextHandler(&h.lines.buffer, &slog.HandlerOptions{
		Level: slog.Level(-1 << 31), // Enabled has judged it
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == messageID {
				return slog.Attr{}
			}
			return a
		},
	})
	return h, nil
}

// Enabled reports whether records of this level are written.
func (h *journalHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// WithAttrs returns a handler whose entries have these attributes too.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	with := *h
	with.text = h.text.WithAttrs(attrs)
	with.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		with.fields.add(h.groups, a)
	}
	return &with
}

// WithGroup returns a handler that puts the attributes that follow in a group.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.text = h.text.WithGroup(name)
	with.groups = append(slices.Clip(h.groups), name)
	return &with
}

// Handle writes one entry. The journal stamps it with its time.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	message, err := h.lines.render(ctx, h.text, r)
	if err != nil {
		return err
	}
	all := slices.Clone(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		all.add(h.groups, a)
		return true
	})
	all.set("PRIORITY", strconv.Itoa(int(priority(r.Level))))
	all.set("MESSAGE", message)
	return h.sink.write(all.encode())
}

// priority is that of syslog(3).
func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l > slog.LevelInfo:
		return journal.PriNotice
	case l == slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// lines is where the text handlers write, one record at a time.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// render returns the message of a record and its attributes as text.
func (l *lines) render(ctx context.Context, text slog.Handler, r slog.Record) (string, error) {
	// Without a time and a message it begins with words that are known, which
	// an attribute of the same name cannot be taken for.
	bare := slog.NewRecord(time.Time{}, r.Level, "", 0)
	r.Attrs(func(a slog.Attr) bool {
		bare.AddAttrs(a)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buffer.Reset()
	if err := text.Handle(ctx, bare); err != nil {
		return "", err
	}
	attrs := strings.TrimSuffix(l.buffer.String(), "\n")
	attrs = strings.TrimPrefix(attrs, fmt.Sprintf(`level=%s msg=""`, r.Level))
	return r.Message + attrs, nil
}
