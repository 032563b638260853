package upgrade

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	tailBytes = 8 << 10
	tailLines = 10
)

// tail reads back what was written to a file since it was made. Processes
// inherit standard error itself, never a pipe of the supervisor's, so that
// their output survives it; so their last lines can be had only where standard
// error is a regular file, which others may have written to as well.
type tail struct {
	path string
	from int64
}

// newTail notes the present end of f; nil if f is not a regular file.
func newTail(f *os.File) *tail {
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return &tail{path: f.Name(), from: info.Size()}
}

// lines returns what was written since, the last tailBytes at most; nil if there
// is nothing to be had.
func (t *tail) lines() []string {
	if t == nil {
		return nil
	}
	f, err := os.Open(t.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	from := max(t.from, end-tailBytes)
	text := make([]byte, max(0, end-from))
	n, _ := f.ReadAt(text, from)
	text = bytes.TrimRight(text[:n], "\n")
	if len(text) == 0 {
		return nil
	}
	return strings.Split(string(text), "\n")
}

// lastOf returns the last few of lines that are not to be left out.
func lastOf(lines []string, out func(string) bool) []string {
	lines = slices.DeleteFunc(lines, out)
	return lines[max(0, len(lines)-tailLines):]
}
