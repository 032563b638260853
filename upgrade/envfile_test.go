package upgrade

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnvFileIsReadAsSystemdReadsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                     {"", nil},
		"comments and empty lines":  {"# A=1\n; B=2\n\n \t\n  # C=3\\\nD=4\n", []string{"D=4"}},
		"no newline at the end":     {"A=1", []string{"A=1"}},
		"other ends of lines":       {"A=1\r\nB=2\rC=3", []string{"A=1", "B=2", "C=3"}},
		"nothing":                   {"A=\nB=''\n", []string{"A=", "B="}},
		"space around":              {"  A =  one two \t\n", []string{"A=one two"}},
		"a hash within":             {"A=one #two\n", []string{"A=one #two"}},
		"a sign within":             {"A=b=c", []string{"A=b=c"}},
		"a backslash":               {`A=a\ \\b\n` + "\n", []string{`A=a \bn`}},
		"a space that is meant":     {"A=a\\ \n", []string{"A=a "}},
		"a line that goes on":       {"A=one\\\ntwo\nB=1", []string{"A=onetwo", "B=1"}},
		"single quotes":             {`A='a "$b" \ c'`, []string{`A=a "$b" \ c`}},
		"several lines in quotes":   {"A='a\nb'\nB=\"c\nd\"", []string{"A=a\nb", "B=c\nd"}},
		"double quotes":             {`A="a \"b\" \$c \\ \d"`, []string{`A=a "b" $c \ \d`}},
		"double quotes that go on":  {"A=\"one\\\ntwo\"", []string{"A=onetwo"}},
		"parts":                     {`A="a" 'b'c`, []string{"A=abc"}},
		"quotes within a word":      {`A=it's "so"`, []string{`A=it's "so"`}},
		"twice":                     {"A=1\nA=2", []string{"A=1", "A=2"}},
		"another language":          {"A=grün", []string{"A=grün"}},
		"a backslash ends the file": {`A=b\`, []string{"A=b"}},
	} {
		got, err := ParseEnvFile("env", []byte(c.text))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}

// TestBrokenEnvFileNamesItsLine, and no value.
func TestBrokenEnvFileNamesItsLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A=1\nhunter2\n":               "env:2: it is not of the form KEY=VALUE",
		"A=1\n\n2B=hunter2":            `env:3: "2B" is not the name of a variable: letters, digits and _, not beginning with a digit`,
		"export A=hunter2":             `env:1: "export A" is not the name of a variable: letters, digits and _, not beginning with a digit`,
		"=hunter2":                     `env:1: "" is not the name of a variable: letters, digits and _, not beginning with a digit`,
		"A=1\nB='hunter2\nC=3\n":       "env:2: B: its ' is never closed",
		"A=\"hunter2\\":                `env:1: A: its " is never closed`,
		"\nLISTEN_FDS=3":               "env:2: LISTEN_FDS is set by the supervisor itself; leave it out",
		"A='x\ny'\nNOTIFY_SOCKET=h":    "env:3: NOTIFY_SOCKET is set by the supervisor itself; leave it out",
		"A=1\nB=hunter2\x00\n":         "env:2: it contains a NUL byte",
		"A=hunter2\xff":                "env:1: it is not UTF-8",
		"A=one\\\ntwo\nSUPERVISOR_A=1": "env:3: SUPERVISOR_A is set by the supervisor itself; leave it out",
	} {
		got, err := ParseEnvFile("env", []byte(text))
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("%q: got %q, %v; want %s", text, got, err, want)
		}
	}
}

func TestEnvFilesAreReadInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, large := write("one", "A=1\nB=1\n"), write("two", "B=2\n"), write("large", strings.Repeat("#\n", maxEnvFile))
	missing := filepath.Join(dir, "missing")
	if got, err := readEnvFiles([]string{one, "-" + missing, "-" + two}); err != nil || !slices.Equal(got, []string{"A=1", "B=1", "B=2"}) {
		t.Errorf("got %q, %v", got, err)
	}
	for file, want := range map[string]string{
		missing: "environment file " + missing + ": no such file or directory", "env": "not an absolute path",
		dir: "not a regular file", large: "more than", "-" + dir: "not a regular file",
	} {
		if got, err := readEnvFiles([]string{one, file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v; want an error with %q", file, got, err, want)
		}
	}
}

// FuzzParseEnvFile: every entry can be one of an environment, and an error names
// a line that there is.
func FuzzParseEnvFile(f *testing.F) {
	for _, text := range []string{"A=1\n", "#\nA='b\nc' \"d\\\ne\"f \\\n", "export A=1", "A=\"", "A=\xff", "\r\nA=b\\ "} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		env, err := ParseEnvFile("env", text)
		if err != nil && (env != nil || !strings.HasPrefix(err.Error(), "env:")) {
			t.Errorf("got %q, %v", env, err)
		}
		for _, entry := range env {
			key, _, ok := strings.Cut(entry, "=")
			if !ok || !isVariable(key) || IsReserved(key) || strings.ContainsRune(entry, 0) {
				t.Errorf("got %q", entry)
			}
		}
	})
}
