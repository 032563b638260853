package architecture

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w*`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	link       = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	codeFences = regexp.MustCompile("(?s)```.*?```")
)

// TestDocumentsAreTrue checks that every test that a document names is there,
// and every file that it links to.
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
		if _, err := fs.Stat(files, path.Join(path.Dir(name), m[1])); err != nil {
			wrong = append(wrong, "a link leads nowhere: "+err.Error())
		}
	}
	return wrong
}

func TestUntrueDocumentsAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"held by TestThere":                           0,
		"held by TestGone and FuzzGone":               2,
		"[file](untrue.go) [page](https://a.example)": 1,
		"[file](documents_test.go#L1) [here](#words)": 0,
		"a Testament, and TestThere's end":            0,
	}
	for text, want := range tests {
		got := untrue("x.md", text, map[string]bool{"TestThere": true}, os.DirFS("."))
		if len(got) != want {
			t.Errorf("%q: found %q, want %d", text, got, want)
		}
	}
}
