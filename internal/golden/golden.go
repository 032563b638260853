// Package golden compares what tests make with files that are kept beside them
// in testdata. A package of tests has a flag -update of its own, which writes
// the files anew.
package golden

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Compare fails t where got is not what the file testdata/NAME holds; with
// update it writes the file instead.
func Compare(t testing.TB, update bool, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update); got:\n%s\nwant:\n%s", path, got, want)
	}
}

// Width fails t for each line of text that has more columns than most, but for
// those that begin with one of spared.
func Width(t testing.TB, text string, most int, spared ...string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		begins := func(with string) bool { return strings.HasPrefix(line, with) }
		if utf8.RuneCountInString(line) > most && !slices.ContainsFunc(spared, begins) {
			t.Errorf("longer than %d columns: %s", most, line)
		}
	}
}
