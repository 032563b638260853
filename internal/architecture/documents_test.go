package architecture

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	testName   = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w*`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	link       = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	quoted     = regexp.MustCompile(`(?s)<!-- quoted from (\S+) -->(.*?)(?:<!-- end of quote -->|\z)`)
	codeFences = regexp.MustCompile("(?s)```.*?```")
)

// TestDocumentsAreTrue checks that every test that a document names is there,
// every file and heading that it links to, and every line that it quotes from what
// a command has written.
func TestDocumentsAreTrue(t *testing.T) {
	t.Parallel()
	declared, documents := map[string]bool{}, map[string]string{}
	walk(t, func(name string) {
		isTest := strings.HasSuffix(name, "_test.go")
		if !isTest && path.Ext(name) != ".md" {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if !isTest {
			documents[name] = string(text)
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			declared[m[1]] = declared[m[1]] || isTest
		}
	})
	for name, text := range documents {
		for _, wrong := range untrue(name, text, declared, os.DirFS(root)) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

// untrue returns what a document names that is not there.
func untrue(name, text string, declared map[string]bool, files fs.FS) []string {
	var wrong []string
	for _, test := range testName.FindAllString(text, -1) {
		if !declared[test] {
			wrong = append(wrong, "there is no "+test)
		}
	}
	for _, m := range link.FindAllStringSubmatch(codeFences.ReplaceAllString(text, ""), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		if err := leads(name, text, m[1], m[2], files); err != nil {
			wrong = append(wrong, "a link leads nowhere: "+err.Error())
		}
	}
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		source, err := fs.ReadFile(files, path.Join(path.Dir(name), m[1]))
		if err != nil {
			wrong = append(wrong, "what is quoted is not there: "+err.Error())
			continue
		}
		written := strings.Split(string(source), "\n")
		for line := range strings.Lines(m[2]) {
			if line = strings.TrimSpace(line); line != "" && !slices.Contains(written, line) {
				wrong = append(wrong, fmt.Sprintf("%s does not say %q", m[1], line))
			}
		}
	}
	return wrong
}

// leads follows a link of a document to a file, "" being the document itself,
// and to a heading of it. Lines of source that are linked to are not looked at.
func leads(name, text, to, anchor string, files fs.FS) error {
	if to != "" {
		name = path.Join(path.Dir(name), to)
		if _, err := fs.Stat(files, name); err != nil {
			return err
		}
		if path.Ext(name) != ".md" || anchor == "" {
			return nil
		}
		there, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		text = string(there)
	}
	if anchor != "" && !slices.Contains(anchors(text), anchor) {
		return fmt.Errorf("%s has no heading #%s", name, anchor)
	}
	return nil
}

// anchors are those that a forge gives to the headings of a document: in small
// letters, with hyphens for blanks and without what is neither letter nor digit.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(codeFences.ReplaceAllString(text, ""), -1) {
		title := strings.ToLower(linkText.ReplaceAllString(m[1], "$1"))
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return r
			}
			return -1
		}, title))
	}
	return all
}

func TestUntrueDocumentsAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"held by TestThere":                           0,
		"held by TestGone and FuzzGone":               2,
		"[file](untrue.go) [page](https://a.example)": 1,
		"[file](documents_test.go#L1)":                0,
		"# Two `words`, here\n[to](#two-words-here)":  0,
		"# Words\n[here](#word) [x](../x.md#word)":    2,
		"[x](#code)\n```\n# code\n```":                1,
		"a Testament, and TestThere's end":            0,
		"<!-- quoted from documents_test.go -->\n\npackage architecture\n<!-- end of quote --> 7": 0,
		"<!-- quoted from documents_test.go -->\n0 of 7\n<!-- end of quote -->":                   1,
		"<!-- quoted from documents_test.go -->\npackage\n1 2 3":                                  2,
		"<!-- quoted from nowhere.md -->\n1\n<!-- end of quote -->":                               1,
	}
	for text, want := range tests {
		got := untrue("x.md", text, map[string]bool{"TestThere": true}, os.DirFS("."))
		if len(got) != want {
			t.Errorf("%q: found %q, want %d", text, got, want)
		}
	}
}
