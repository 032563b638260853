package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A witness counts what a test would be told.
type witness struct {
	testing.TB
	errors int
	fatal  bool
}

func (w *witness) Helper()               {}
func (w *witness) Errorf(string, ...any) { w.errors++ }
func (w *witness) Fatal(...any)          { w.fatal = true }

func TestCompareFindsWhatDiffers(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("testdata", 0o700); err != nil {
		t.Fatal(err)
	}
	Compare(t, true, "a.txt", "one\n")
	if text, err := os.ReadFile(filepath.Join("testdata", "a.txt")); err != nil || string(text) != "one\n" {
		t.Fatalf("%v %q", err, text)
	}
	Compare(t, false, "a.txt", "one\n")
	w := &witness{TB: t}
	if Compare(w, false, "a.txt", "two\n"); w.errors != 1 {
		t.Error("a difference is not told")
	}
	if Compare(w, false, "missing.txt", ""); !w.fatal {
		t.Error("a missing file is not told")
	}
}

func TestWidthFindsLongLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"":                    0,
		"äöü\n":               0,
		"1234\n":              1,
		"1234\n123\n12345":    2,
		"NOTE 1\n":            0,
		"a NOTE\nNOTE: 123\n": 1,
	} {
		w := &witness{TB: t}
		if Width(w, text, 3, "NOTE", "other"); w.errors != want {
			t.Errorf("%q: %d lines are too long, want %d", strings.ReplaceAll(text, "\n", "|"), w.errors, want)
		}
	}
}
