package fdpass

import (
	"os"
	"regexp"
	"testing"
)

// The packets that docs/protocol.md shows are packets, and there is one of each
// type.
func TestExamplesOfTheDocumentAreMessages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)\n```").FindAllSubmatch(page, -1) {
		m, err := decode(block[1])
		if err != nil {
			t.Errorf("%s: %v", block[1], err)
			continue
		}
		if again, err := encode(m); err != nil || string(again) != string(block[1]) {
			t.Errorf("%s is sent as %s, %v", block[1], again, err)
		}
		shown[m.kind()] = true
	}
	for _, m := range append(samples(), Listeners{}) {
		if !shown[m.kind()] {
			t.Errorf("%s is not shown", m.kind())
		}
	}
}
