package architecture

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unwelcome finds the words for which this project has better ones: a
// generation has a role, and a role is a slot. Managers of services and
// processes are called so by those who wrote them.
var unwelcome = regexp.MustCompile(`(?i)\b((?:service|process|package) )?(master|slave|worker|manager|hammer)s?\b`)

// words returns the unwelcome words of a text.
func words(text string) []string {
	var found []string
	text = strings.ReplaceAll(text, "worker:ack", "") // a command of einhorn's
	for _, m := range unwelcome.FindAllStringSubmatch(text, -1) {
		if m[1] == "" {
			found = append(found, m[0])
		}
	}
	return found
}

func TestWords(t *testing.T) {
	t.Parallel()
	checked := []string{".go", ".md", ".py", ".toml", ".txt", ".txtar", ".service", ".socket"}
	walk(t, func(name string) {
		if !slices.Contains(checked, path.Ext(name)) || name == "internal/architecture/words_test.go" {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			if found := words(line); found != nil {
				t.Errorf("%s:%d: says %q", name, number, found)
			}
		}
	})
}

func TestWordsAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"the Master and its workers":             2,
		"a service manager, the process manager": 0,
		"a manager of services":                  1,
		"MANAGERPID, mworker, hammered":          0,
	}
	for text, want := range tests {
		if got := words(text); len(got) != want {
			t.Errorf("%q: found %q, want %d", text, got, want)
		}
	}
}
