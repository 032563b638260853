package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestArrows checks every Go file of the module against the table of rooms.
func TestArrows(t *testing.T) {
	t.Parallel()
	for _, wrong := range check(module(t), rooms, goFiles(t)) {
		t.Error(wrong)
	}
}

func TestCheckFindsEachViolation(t *testing.T) {
	t.Parallel()
	table := []room{
		{path: "decide", ours: []string{"move"}, others: []string{"example.org/sys"},
			only:  map[string][]string{"move": {"process.go"}, "example.org/sys": {"process.go"}},
			files: map[string][]string{"machine.go": {"fmt"}}},
		{path: "move"},
		{path: "shows/*", ours: []string{"decide"}},
		{path: "shows/plain"},
	}
	// What makes every arrow of the table a used one.
	sound := []file{
		{"decide", "process.go", []string{"os", "example.com/m/move", "example.org/sys/unix"}},
		{"decide", "machine.go", []string{"fmt"}},
		{"move", "move.go", []string{"net/http"}},
		{"shows/echo", "main.go", []string{"example.com/m/decide"}},
		{"shows/plain", "main.go", []string{"fmt"}},
	}
	tests := []struct {
		name string
		file file
		want string // "" if it is allowed
	}{
		{"standard library", file{"move", "b.go", []string{"encoding/json"}}, ""},
		{"room of a folder", file{"shows/http", "main.go", []string{"example.com/m/decide"}}, ""},
		{"wrong direction", file{"move", "b.go", []string{"example.com/m/decide"}}, "move/b.go imports example.com/m/decide, which is no arrow from move"},
		{"right package, wrong file", file{"decide", "report.go", []string{"example.com/m/move"}}, "decide/report.go imports example.com/m/move; of decide only process.go may"},
		{"right module, wrong file", file{"decide", "report.go", []string{"example.org/sys/unix"}}, "decide/report.go imports example.org/sys/unix; of decide only process.go may"},
		{"below an allowed package", file{"decide", "process.go", []string{"example.com/m/move/inner"}}, "decide/process.go imports example.com/m/move/inner, which is no arrow from decide"},
		{"foreign module", file{"move", "b.go", []string{"example.org/sys"}}, "move/b.go imports example.org/sys, which is no arrow from move"},
		{"foreign module with a like name", file{"decide", "process.go", []string{"example.org/system"}}, "decide/process.go imports example.org/system, which is no arrow from decide"},
		{"pure file", file{"decide", "machine.go", []string{"fmt", "os"}}, "decide/machine.go imports os; it may import only fmt"},
		{"own room before that of the folder", file{"shows/plain", "b.go", []string{"example.com/m/decide"}}, "shows/plain/b.go imports example.com/m/decide, which is no arrow from shows/plain"},
		{"package without a room", file{"attic", "a.go", nil}, "package attic is not in the table of rooms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(check("example.com/m", table, append(slices.Clone(sound), tt.file)), "\n")
			if got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
	t.Run("arrow and room that do not exist", func(t *testing.T) {
		t.Parallel()
		got := check("example.com/m", table, sound[1:4])
		want := []string{
			"decide does not import example.org/sys; take it out of the table of rooms",
			"decide does not import move; take it out of the table of rooms",
			"there is no package shows/plain; take it out of the table of rooms",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// module is the module's path.
func module(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return string(regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(text)[1])
}

// goFiles are all Go files of the module but tests.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		f := file{pkg: path.Dir(name), name: path.Base(name)}
		for _, i := range parsed.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
	})
	return files
}

// walk calls each with the slashed path, below the root, of every file that is
// not hidden, made (bin) or the history.
func walk(t *testing.T, each func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case d.Type().IsRegular():
			each(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
