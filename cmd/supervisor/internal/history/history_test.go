package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// release is what runs of that name; another digit is another file.
func release(name string) upgrade.Release {
	return upgrade.Release{Program: upgrade.Program{Command: []string{"/srv/current/web"}}, Path: "/srv/" + name + "/web", File: "1:" + name}
}

// entries reads "start v1 committed" and the like.
func entries(lines ...string) []Entry {
	var all []Entry
	for i, line := range lines {
		var kind, name, verdict string
		if _, err := fmt.Sscan(line, &kind, &name, &verdict); err != nil {
			panic(err)
		}
		e := Entry{
			At: time.Date(2026, 1, 2, 3, 4, i, 0, time.Local), Service: "web", Kind: upgrade.Kind(kind), Verdict: upgrade.Verdict(verdict),
			Request: uint64(i), Reason: "so", Release: new(release(name)),
		}
		if e.Verdict == upgrade.Refused {
			e.Release = nil // nothing was started
		}
		all = append(all, e)
	}
	return all
}

// TestDecide: what is started where no generation is alive, and what a rollback
// goes to then.
func TestDecide(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		history         []string
		configured      string
		insist          bool
		start, previous string // "" is the configured one, or none
		why             string
	}{
		"nothing is known":             {nil, "v1", false, "", "", ""},
		"the same again":               {[]string{"start v1 committed"}, "v1", false, "", "", ""},
		"a new deployment":             {[]string{"start v1 committed"}, "v2", false, "", "v1", ""},
		"another file of that name":    {[]string{"start v1 committed", "upgrade v2 aborted"}, "v2b", false, "", "v1", ""},
		"one that was upgraded to":     {[]string{"start v1 committed", "upgrade v2 committed"}, "v2", false, "", "v1", ""},
		"one that failed":              {[]string{"start v1 committed", "upgrade v2 aborted"}, "v2", false, "v1", "", "its upgrade at 2026-01-02 03:04:01 was aborted: so"},
		"one that was undone":          {[]string{"start v1 committed", "upgrade v2 rolled-back"}, "v2", false, "v1", "", "its upgrade at 2026-01-02 03:04:01 was rolled-back: so"},
		"one that failed at its start": {[]string{"start v1 committed", "start v2 aborted"}, "v2", false, "v1", "", "its start at 2026-01-02 03:04:01 was aborted: so"},
		"the first ever that failed":   {[]string{"start v1 aborted"}, "v1", false, "", "", ""},
		"rolled back from":             {[]string{"start v1 committed", "upgrade v2 committed", "rollback v1 committed"}, "v2", false, "v1", "v2", "it was rolled back at 2026-01-02 03:04:02"},
		"an older one":                 {[]string{"start v1 committed", "upgrade v2 committed"}, "v1", false, "v2", "v1", "another one was committed at 2026-01-02 03:04:01"},
		"insisting":                    {[]string{"start v1 committed", "upgrade v2 aborted"}, "v2", true, "", "v1", ""},
		"insisting on what is so":      {[]string{"start v1 committed", "upgrade v2 committed"}, "v2", true, "", "v1", ""},
		"failed, then committed":       {[]string{"start v1 committed", "upgrade v2 aborted", "upgrade v2 committed"}, "v2", false, "", "v1", ""},
		"committed, then failed":       {[]string{"start v1 committed", "upgrade v2 committed", "upgrade v2 aborted"}, "v2", false, "", "v1", ""},
		"committed twice":              {[]string{"start v1 committed", "upgrade v2 committed", "upgrade v2 committed"}, "v2", false, "", "v1", ""},
		"refused":                      {[]string{"start v1 committed", "upgrade v2 refused"}, "v2", false, "", "v1", ""},
		"three":                        {[]string{"start v1 committed", "upgrade v2 committed", "upgrade v3 committed", "upgrade v4 aborted"}, "v4", false, "v3", "v2", "its upgrade at 2026-01-02 03:04:03 was aborted: so"},
	} {
		d := Decide(entries(c.history...), release(c.configured), c.insist)
		if got := nameOf(d.Start); got != c.start || nameOf(d.Previous) != c.previous || d.Why != c.why {
			t.Errorf("%s: starts %q, before it %q, because %q; want %q, %q, %q", name, got, nameOf(d.Previous), d.Why, c.start, c.previous, c.why)
		}
	}
}

func nameOf(r *upgrade.Release) string {
	if r == nil {
		return ""
	}
	return strings.TrimPrefix(r.File, "1:")
}

// TestHistoryIsFoundAgain: with a torn line, and without what is of another
// service.
func TestHistoryIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	path := filepath.Join(dir, FileName)
	written := entries("start v1 committed", "upgrade v2 aborted", "upgrade v3 committed")
	l := Open(dir, "web", slog.New(slog.DiscardHandler))
	l.Add(written[0])
	l.Add(written[0]) // of a supervisor that was killed, perhaps
	l.Close()
	tear(t, path, `{"at":"2026-01-02T03:04:`)
	l = Open(dir, "web", slog.New(slog.DiscardHandler))
	l.Add(written[1])
	other := written[2]
	other.Service = "api"
	l.Add(other)
	l.Close()
	l = Open(dir, "web", slog.New(slog.DiscardHandler))
	l.Add(written[2])
	l.Close()
	got, damaged, err := ReadFile(path, "web")
	if err != nil || damaged != 1 || !same(got, written) {
		t.Errorf("got %+v, %d damaged, %v; want %+v", got, damaged, err, written)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

func tear(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func same(a, b []Entry) bool {
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(one, other)
}

// TestHistoryIsBounded, and the releases by which a rollback goes stay in it.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := Open(dir, "web", slog.New(slog.DiscardHandler))
	long := strings.Repeat("x", 8<<10)
	for i := range 600 {
		e := entries("upgrade v9 aborted")[0]
		if i < 2 {
			e = entries(fmt.Sprintf("upgrade v%d committed", i))[0]
		}
		e.Request, e.Reason = uint64(i), long
		l.Add(e)
		if i%100 == 99 {
			l.save()
		}
	}
	l.Close()
	got, damaged, err := ReadFile(filepath.Join(dir, FileName), "web")
	d := Decide(got, release("v9"), false)
	if err != nil || damaged > 0 || nameOf(d.Start) != "v1" || nameOf(d.Previous) != "v0" {
		t.Errorf("%d entries, %d damaged, %v; would start %q, and before it %q", len(got), damaged, err, nameOf(d.Start), nameOf(d.Previous))
	}
	if info, err := os.Stat(filepath.Join(dir, FileName)); err != nil || info.Size() > maxFile+kept*10<<10 {
		t.Errorf("the file has %d bytes (%v)", info.Size(), err)
	}
	if got := l.Entries(); len(got) != kept+2 {
		t.Errorf("%d entries are kept", len(got))
	}
}

// TestHistoryThatCannotBeWrittenHindersNothing, and is written when it can be.
func TestHistoryThatCannotBeWrittenHindersNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	var said bytes.Buffer
	l := Open(dir, "web", slog.New(slog.NewTextHandler(&said, nil)))
	if err := os.Mkdir(path, 0o700); err != nil { // where the file is to be
		t.Fatal(err)
	}
	written := entries("start v1 committed", "upgrade v2 committed")
	l.Add(written[0])
	l.save()
	l.Add(written[1])
	l.save()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Retry()
	l.Close()
	if got, _, err := ReadFile(path, "web"); err != nil || !same(got, written) {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := strings.Count(said.String(), "cannot write the history"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
}

// TestForeignHistoryIsNotHeeded: by it would be decided what is executed.
func TestForeignHistoryIsNotHeeded(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"others may write": func(path string) error { return os.Chmod(path, 0o622) },
		"a symlink": func(path string) error {
			if err := os.Rename(path, path+".other"); err != nil {
				return err
			}
			return os.Symlink(path+".other", path)
		},
		"the directory": func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
	} {
		dir := t.TempDir()
		l := Open(dir, "web", slog.New(slog.DiscardHandler))
		l.Add(entries("start v1 committed")[0])
		l.Close()
		if err := spoil(filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		l = Open(dir, "web", slog.New(slog.NewTextHandler(&said, nil)))
		if got := l.Entries(); len(got) > 0 || l.Path() != "" || !strings.Contains(said.String(), "level=ERROR") {
			t.Errorf("%s: got %+v; said %s", name, got, said.String())
		}
		l.Close()
	}
}

func TestChooseStateDirectory(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct{ given, state, xdg string }{
		"/given":              {"/given", "/state", "/xdg"},
		"/state":              {"", "/state:/other", "/xdg"},
		"/xdg/supervisor/web": {"", "", "/xdg"},
		"":                    {},
	} {
		env := map[string]string{"STATE_DIRECTORY": c.state, "XDG_STATE_HOME": c.xdg}
		if got := Choose(c.given, "web", func(key string) string { return env[key] }); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzParse: whatever is in a file, what is read of it can be decided by, shown,
// and written again.
func FuzzParse(f *testing.F) {
	var text []byte
	for _, e := range entries("start v1 committed", "upgrade v2 aborted") {
		line, err := e.encode()
		if err != nil {
			f.Fatal(err)
		}
		text = append(text, line...)
	}
	f.Add(text)
	f.Add(append(text, `{"at":"2026-01-02T03:04:05Z","kind":"start","verdict":"committed","release":{}}`...))
	f.Add([]byte("null\n[]\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, damaged := Parse(text, "")
		if len(all)+damaged > bytes.Count(text, []byte("\n"))+1 {
			t.Errorf("%d entries and %d damaged ones in %q", len(all), damaged, text)
		}
		if d := Decide(all, release("v1"), false); d.Start != nil && d.Why == "" {
			t.Errorf("starts another for no reason: %+v", d)
		}
		for _, e := range all {
			if line, err := e.encode(); err == nil {
				if again, _ := Parse(line, e.Service); len(again) != 1 {
					t.Errorf("%s is not read again", line)
				}
			}
		}
	})
}
