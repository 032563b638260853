package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestDocumentationTellsOfEverySetting makes the part of docs/configuration.md
// that tells of the settings, and compares.
func TestDocumentationTellsOfEverySetting(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "..", "docs", "configuration.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- settings begin")
	comment, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, "<!-- settings end -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s has lost its marks", path)
	}
	want := before + "<!-- settings begin" + comment + "-->\n" + describe() + "<!-- settings end -->" + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s does not tell what the flags do; run go test ./cmd/supervisor/internal/config -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe writes a table of settings for each group.
func describe() string {
	c := Default()
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	c.AddFlags(fs)
	var out strings.Builder
	group := ""
	for _, s := range c.Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&out, "\n## %s\n\n| key and flag | default | example | meaning |\n|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&out, "| `%s` | %s | `%s` | %s |\n", s.Name, shownDefault(fs.Lookup(s.Name)), cell(s.Example), cell(s.meaning()))
	}
	return out.String() + "\n"
}

func shownDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "[]":
		return "none"
	}
	switch f.Value.Type() {
	case "string", "duration":
		return fmt.Sprintf("`%q`", f.DefValue)
	}
	return "`" + f.DefValue + "`"
}

// meaning is the usage as a sentence of its own.
func (s Setting) meaning() string {
	return strings.ReplaceAll(s.Usage, "`", "")
}

// cell makes text fit for a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
