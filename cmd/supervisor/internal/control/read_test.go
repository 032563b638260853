package control

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"example.com/supervisor/upgrade"
)

// FuzzRead: whatever comes instead of the lines of an answer, there is a report
// or the error that the outcome is not known, and no line is taken for what it is
// not.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"step\":{\"request\":3,\"phase\":\"start\"}}\n{\"report\":{\"request\":3,\"kind\":\"upgrade\",\"verdict\":\"aborted\"}}\n"), false)
	f.Add([]byte("{\"error\":\"no\"}\n"), true)
	f.Add([]byte("{\"report\":{\"request\":4}}"), true)
	f.Add([]byte("{"), false)
	f.Fuzz(func(t *testing.T, text []byte, next bool) {
		reports := 0
		w := &follower{kind: upgrade.KindUpgrade, next: next, each: func(_ []byte, l Line) {
			if l.Report != nil {
				reports++
			}
		}}
		if next {
			w.request = 3
		}
		report, err := w.read(io.NopCloser(bytes.NewReader(text)))
		switch {
		case err != nil && !errors.Is(err, ErrLost):
			t.Errorf("the error is %v", err)
		case err == nil && (reports != 1 || next && report.Request != 3):
			t.Errorf("%d reports were seen, and the last is %+v", reports, report)
		}
	})
}
