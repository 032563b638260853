package scale

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// document is the one that the long forms write.
const document = "scale.md"

// publish writes the figures that a command has made into its part of the document,
// between two marks. Without documentsEnv it does nothing, nor after a failure.
func publish(t *testing.T, part, command, figures string) {
	t.Helper()
	dir := os.Getenv(documentsEnv)
	if dir == "" || t.Failed() {
		return
	}
	path := filepath.Join(dir, document)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err = replacePart(text, part, fmt.Sprintf("By `%s`, %s, on %s.\n\n%s", command, time.Now().Format(time.DateOnly), load.ThisMachine().Full(), figures))
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// replacePart replaces what is between <!-- part --> and <!-- end of part -->.
func replacePart(text []byte, part, by string) ([]byte, error) {
	begin, end := "<!-- "+part+" -->\n", "<!-- end of "+part+" -->"
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return nil, fmt.Errorf("cannot write the figures: the document has no %s%s", begin, end)
	}
	return bytes.Join([][]byte{before, []byte(begin + by + end), after}, nil), nil
}

// TestPartsAreReplaced: a part of the document is written anew, and nothing else.
func TestPartsAreReplaced(t *testing.T) {
	t.Parallel()
	const text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n<!-- y -->\n<!-- end of y -->\n"
	got, err := replacePart([]byte(text), "x", "new\n")
	if want := strings.Replace(text, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := replacePart([]byte(text), "z", ""); err == nil {
		t.Error("a part that is not there was replaced")
	}
	if _, err := replacePart([]byte("<!-- x -->\n"), "x", ""); err == nil {
		t.Error("a part without an end was replaced")
	}
}
