package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newLogger logs to a journal of which the test reads the entries.
func newLogger(t *testing.T, level slog.Leveler) (*slog.Logger, *net.UnixConn) {
	t.Helper()
	path, conn := deaf(t)
	h, err := newJournalHandler(path, "web", level)
	must(t, err)
	return slog.New(h), conn
}

// readEntry returns the fields of the next entry, each of which is there once.
func readEntry(t *testing.T, conn *net.UnixConn) map[string]string {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(soon)))
	data, rights := make([]byte, 1<<20), make([]byte, 64)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, rights)
	must(t, err)
	data = data[:n]
	if oobn > 0 {
		if n > 0 {
			t.Errorf("%d bytes beside a file", n)
		}
		data = readFile(t, rights[:oobn])
	}
	return decodeEntry(t, data)
}

// readFile reads the file in memory that an entry came as.
func readFile(t *testing.T, rights []byte) []byte {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(rights)
	must(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	f := os.NewFile(uintptr(fds[0]), "entry")
	defer f.Close()
	seals, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; err != nil || seals != want {
		t.Errorf("seals are %#x, %v; want %#x", seals, err, want)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	must(t, err)
	return data
}

// decodeEntry is the native protocol, read as the journal does.
func decodeEntry(t *testing.T, data []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for len(data) > 0 {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			t.Fatalf("no end of line after %q", line)
		}
		name, value, ok := bytes.Cut(line, []byte("="))
		if !ok {
			size := binary.LittleEndian.Uint64(rest)
			value, rest = rest[8:8+size], rest[8+size:]
			if rest[0] != '\n' {
				t.Fatalf("no end of line after the value of %s", name)
			}
			rest = rest[1:]
		}
		if _, twice := fields[string(name)]; twice {
			t.Errorf("%s is there twice", name)
		}
		fields[string(name)] = string(value)
		data = rest
	}
	return fields
}

func wantEntry(t *testing.T, conn *net.UnixConn, want map[string]string) {
	t.Helper()
	if got := readEntry(t, conn); !maps.Equal(got, want) {
		t.Errorf("entry is\n%q, want\n%q", got, want)
	}
}

func TestJournalHasAFieldForEachAttribute(t *testing.T) {
	t.Parallel()
	log, conn := newLogger(t, nil)
	log = log.With("generation", 7).WithGroup("").With()
	log.Info("verdict", "verdict", "rolled-back", "request", "4", "message_id", "7f1c", "reason", "queue is full")
	wantEntry(t, conn, map[string]string{
		"SYSLOG_IDENTIFIER": "web", "PRIORITY": "6", "MESSAGE_ID": "7f1c",
		"MESSAGE":    `verdict generation=7 verdict=rolled-back request=4 reason="queue is full"`,
		"GENERATION": "7", "VERDICT": "rolled-back", "REQUEST": "4", "REASON": "queue is full",
	})
	log.WithGroup("memory").With("size", 12, slog.Group("peak", "size", 15)).Warn("much", "generation", 8, "", 1)
	wantEntry(t, conn, map[string]string{
		"SYSLOG_IDENTIFIER": "web", "PRIORITY": "4",
		"MESSAGE":    `much generation=7 memory.size=12 memory.peak.size=15 memory.generation=8 "memory."=1`,
		"GENERATION": "7", "MEMORY_SIZE": "12", "MEMORY_PEAK_SIZE": "15", "MEMORY_GENERATION": "8",
	})
	log.Info("the last counts", "generation", 9)
	wantEntry(t, conn, map[string]string{
		"SYSLOG_IDENTIFIER": "web", "PRIORITY": "6", "GENERATION": "9",
		"MESSAGE": "the last counts generation=7 generation=9",
	})
	log.Info("plain")
	wantEntry(t, conn, map[string]string{
		"SYSLOG_IDENTIFIER": "web", "PRIORITY": "6", "GENERATION": "7", "MESSAGE": "plain generation=7",
	})
}

func TestJournalKeepsItsOwnNames(t *testing.T) {
	t.Parallel()
	log, conn := newLogger(t, nil)
	log.Info("m", "message", 1, "priority", 2, "level", 3, "msg", 4, "time", 5, "_pid", 6, "9lives", 7,
		"syslog_pid", 8, "code-line", 9, "Tid", 10, slog.Group("message", "id", 11), "größe", 12)
	wantEntry(t, conn, map[string]string{
		"SYSLOG_IDENTIFIER": "web", "PRIORITY": "6",
		"MESSAGE":            "m message=1 priority=2 level=3 msg=4 time=5 _pid=6 9lives=7 syslog_pid=8 code-line=9 Tid=10 message.id=11 größe=12",
		"SUPERVISOR_MESSAGE": "1", "SUPERVISOR_PRIORITY": "2", "LEVEL": "3", "MSG": "4", "TIME": "5", "SUPERVISOR__PID": "6",
		"SUPERVISOR_9LIVES": "7", "SUPERVISOR_SYSLOG_PID": "8", "SUPERVISOR_CODE_LINE": "9", "SUPERVISOR_TID": "10",
		"SUPERVISOR_MESSAGE_ID": "11", "GR__E": "12",
	})
}

// nilText is a value with a method that a nil pointer does not survive.
type nilText struct{ text string }

func (n *nilText) MarshalText() ([]byte, error) { return []byte(n.text), nil }

func TestJournalValues(t *testing.T) {
	t.Parallel()
	log, conn := newLogger(t, nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	log.Info("first\nsecond", "error", errors.New("a\nb"), "took", 1500*time.Millisecond, "at", at, "text", &nilText{"x"},
		"none", (*nilText)(nil), "bytes", []byte("raw"), "list", []int{1, 2}, "nothing", nil, "empty", "")
	got := readEntry(t, conn)
	if !strings.HasPrefix(got["MESSAGE"], "first\nsecond error=\"a\\nb\" took=1.5s ") || strings.HasSuffix(got["MESSAGE"], "\n") {
		t.Errorf("MESSAGE is %q", got["MESSAGE"])
	}
	for name, want := range map[string]string{
		"ERROR": "a\nb", "TOOK": "1.5s", "AT": "2026-01-02T03:04:05.000000006Z", "TEXT": "x",
		"BYTES": "raw", "LIST": "[1 2]", "NOTHING": "<nil>", "EMPTY": "",
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if !strings.HasPrefix(got["NONE"], "!PANIC") {
		t.Errorf("NONE is %q", got["NONE"])
	}
}

func TestJournalPriorities(t *testing.T) {
	t.Parallel()
	level := &slog.LevelVar{}
	level.Set(slog.LevelDebug)
	log, conn := newLogger(t, level)
	for l, want := range map[slog.Level]string{
		slog.LevelDebug: "7", slog.LevelDebug + 1: "7", slog.LevelInfo: "6", slog.LevelInfo + 2: "5",
		slog.LevelWarn: "4", slog.LevelError: "3", slog.LevelError + 8: "3",
	} {
		log.Log(t.Context(), l, "x", "level", l)
		got := readEntry(t, conn)
		if got["PRIORITY"] != want || got["MESSAGE"] != "x level="+l.String() {
			t.Errorf("%v: %q", l, got)
		}
	}
	level.Set(slog.LevelWarn)
	log.Info("not this")
	log.Warn("but this")
	if got := readEntry(t, conn); got["MESSAGE"] != "but this" {
		t.Errorf("%q", got)
	}
}

func TestJournalTakesLongEntriesAsFiles(t *testing.T) {
	t.Parallel()
	log, conn := newLogger(t, nil)
	long := strings.Repeat("0123456789\n", 100_000)
	log.Info("long", "text", long)
	if got := readEntry(t, conn); got["TEXT"] != long || got["SYSLOG_IDENTIFIER"] != "web" {
		t.Errorf("TEXT has %d bytes, want %d", len(got["TEXT"]), len(long))
	}
}

func TestJournalIsConcurrent(t *testing.T) {
	t.Parallel()
	log, conn := newLogger(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				log.With("writer", i).Info("line", "number", j)
			}
		})
	}
	for range 8 * 50 {
		got := readEntry(t, conn)
		if want := fmt.Sprintf("line writer=%s number=%s", got["WRITER"], got["NUMBER"]); got["MESSAGE"] != want {
			t.Errorf("MESSAGE is %q, want %q", got["MESSAGE"], want)
		}
	}
	wg.Wait()
}

func TestJournalThatDoesNotReadIsNotWaitedForTwice(t *testing.T) {
	t.Parallel()
	path, conn := deaf(t)
	h, err := newJournalHandler(path, "web", nil)
	must(t, err)
	fill(t, path)
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "lost", 0)
	start := time.Now()
	for range 10 {
		wantText(t, h.Handle(t.Context(), record), "cannot write to the journal", "timeout")
	}
	if took := time.Since(start); took < journalWait || took > 3*journalWait {
		t.Errorf("10 entries took %v", took)
	}
	must(t, conn.SetReadDeadline(time.Now().Add(soon)))
	for range 3 {
		if _, err := conn.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := h.Handle(t.Context(), record); err != nil {
			t.Errorf("once the journal reads again: %v", err)
		}
	}
}

func TestNewJournalHandlerWantsAJournal(t *testing.T) {
	t.Parallel()
	if _, err := newJournalHandler("/nowhere/socket", "web", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestJournalStreamIsThatVeryFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	raw, err := w.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }))
	must(t, err)
	for value, want := range map[string]bool{
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   true,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
		fmt.Sprintf("%d:%d", st.Dev+1, st.Ino): false,
		fmt.Sprintf("%d:%dx", st.Dev, st.Ino):  false,
		fmt.Sprintf("%d", st.Ino):              false,
		"":                                     false,
	} {
		if got := JournalStream(w, env(map[string]string{"JOURNAL_STREAM": value})); got != want {
			t.Errorf("JOURNAL_STREAM=%q: %v", value, got)
		}
	}
}

// FuzzJournalStream holds that what is accepted is two numbers and nothing else.
func FuzzJournalStream(f *testing.F) {
	for _, seed := range []string{"", ":", "8:1234", "08:01", "-1:2", "+1:2", "1:2:3", "18446744073709551615:1", "18446744073709551616:1", "1: 2", "0x1:2"} {
		f.Add(seed)
	}
	plain := regexp.MustCompile(`^0*([0-9]+):0*([0-9]+)$`)
	f.Fuzz(func(t *testing.T, s string) {
		device, inode, ok := parseJournalStream(s)
		if !ok {
			return
		}
		if found := plain.FindStringSubmatch(s); found == nil || found[1] != fmt.Sprint(device) || found[2] != fmt.Sprint(inode) {
			t.Errorf("%q is read as %d:%d", s, device, inode)
		}
	})
}

// FuzzJournalFields holds that any attribute becomes an entry that can be read
// back, with names that the journal takes.
func FuzzJournalFields(f *testing.F) {
	for _, seed := range [][3]string{{"", "a", "b"}, {"g", "message_id", "1\n2"}, {"", "_x", "="}, {"é", "\n", "\x00"}, {"", "", "x"}, {"", "message_id", ""}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	legal := regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	f.Fuzz(func(t *testing.T, group, key, value string) {
		var groups []string
		if group != "" {
			groups = []string{group}
		}
		var fs fields
		fs.set("PRIORITY", "6")
		fs.add(groups, slog.String(key, value))
		fs.set("MESSAGE", value)
		got := decodeEntry(t, fs.encode())
		names := slices.Collect(maps.Keys(got))
		if len(got) != len(fs) || got["MESSAGE"] != value || got["PRIORITY"] != "6" || slices.ContainsFunc(names, func(n string) bool { return !legal.MatchString(n) }) {
			t.Errorf("%q", got)
		}
	})
}
