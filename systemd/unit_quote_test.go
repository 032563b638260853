package systemd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hostile are words that mean something in a unit.
var hostile = []string{
	"", " ", "a b", "$HOME", "${HOME}", "$$", "%n", "%%", "%", `q"q'x`, `back\slash\`, `\`, ";", `\;`, "@x", "-!x", "+:x", "tab\there",
	"ünï", "#c", `\n`, `\x41`, "~", "*", "&&", "|", "\x01", "\x7f", " lead", "trail ", "'", `''`, `"`, "[Service]", "a=b", "…",
}

func TestWordsAreReadBack(t *testing.T) {
	t.Parallel()
	var line []string
	for _, word := range hostile {
		quoted, err := QuoteWord(word)
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		line = append(line, quoted)
	}
	got, err := unquoteLine(strings.Join(line, " "))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, hostile) {
		t.Errorf("got  %q\nwant %q", got, hostile)
	}
}

func TestPlainWordsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"/srv/web/current/web":    "/srv/web/current/web",
		"--listen=http=systemd":   "--listen=http=systemd",
		"http://[::1]:80/?a=1&b=": `"http://[::1]:80/?a=1&b="`,
		"50%":                     "50%%",
		"$HOME":                   "$$HOME",
		"a b":                     `"a b"`,
		`C:\x`:                    `"C:\\x"`,
	} {
		if got, err := QuoteWord(word); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", word, got, err, want)
		}
	}
}

func TestWordsThatAUnitCannotSayAreRefused(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"a\nExecStartPre=/bin/sh": "line break",
		"a\rb":                    "line break",
		"a\x00b":                  "NUL",
		"\xff":                    "not UTF-8",
		"\ufdd0":                  "not UTF-8",
	} {
		if got, err := QuoteWord(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v; want an error with %q", word, got, err, want)
		}
	}
}

func FuzzQuoteWord(f *testing.F) {
	for _, word := range hostile {
		f.Add(word, "next")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		quotedA, err := QuoteWord(a)
		if err != nil {
			t.Skip(err)
		}
		quotedB, err := QuoteWord(b)
		if err != nil {
			t.Skip(err)
		}
		line := quotedA + " " + quotedB
		if strings.ContainsAny(line, "\n\r\x00") || strings.HasSuffix(line, `\`) {
			t.Fatalf("%q is no line of its own", line)
		}
		got, err := unquoteLine(line)
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Errorf("%q %q became %q: %q, %v", a, b, line, got, err)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, word := range hostile {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, address string) {
		escaped, err := Unit{}.address(address)
		if err != nil {
			t.Skip(err)
		}
		if strings.TrimSpace(escaped) != escaped || strings.ContainsAny(escaped, "\n\r\x00") || strings.HasSuffix(escaped, `\`) {
			t.Fatalf("%q is not taken whole", escaped)
		}
		if got, err := expand(escaped); err != nil || got != address {
			t.Errorf("%q became %q: %q, %v", address, escaped, got, err)
		}
	})
}

// unquoteLine reads the arguments of an ExecStart= as systemd does: it splits
// and unquotes (extract_first_word with EXTRACT_UNQUOTE and EXTRACT_CUNESCAPE),
// expands specifiers, then variables (replace_env_argv). All specifiers and
// variables but "%" and "$" themselves are errors here.
func unquoteLine(line string) ([]string, error) {
	words, err := split(line)
	for i := range words {
		if err == nil {
			words[i], err = expand(words[i])
		}
		if err == nil {
			words[i], err = double(words[i], '$')
		}
	}
	return words, err
}

func expand(word string) (string, error) { return double(word, '%') }

// double makes one of two, and refuses one.
func double(word string, c byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == c {
			if i++; i == len(word) || word[i] != c {
				return "", fmt.Errorf("%q has a single %c", word, c)
			}
		}
		b.WriteByte(word[i])
	}
	return b.String(), nil
}

// split is the first step of unquoteLine.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	started := false
	end := func() error {
		if word.String() == ";" && quote == 0 && !started {
			return fmt.Errorf("%q has a separator", line)
		}
		words, started = append(words, word.String()), false
		word.Reset()
		return nil
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\':
			n, err := unescape(line[i+1:], &word)
			if err != nil {
				return nil, err
			}
			i, started = i+n, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, started = c, true
		case quote == 0 && strings.IndexByte(" \t", c) >= 0:
			if word.Len() > 0 || started {
				if err := end(); err != nil {
					return nil, err
				}
			}
		default:
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%q has an open quote", line)
	}
	if word.Len() > 0 || started {
		return words, end()
	}
	return words, nil
}

// unescape writes what follows a backslash, and returns its length.
func unescape(rest string, word *strings.Builder) (int, error) {
	switch {
	case rest == "":
		return 0, fmt.Errorf("the line ends with a backslash")
	case rest[0] == '"' || rest[0] == '\\':
		word.WriteByte(rest[0])
		return 1, nil
	case rest[0] == 'x' && len(rest) >= 3:
		c, err := strconv.ParseUint(rest[1:3], 16, 8)
		word.WriteByte(byte(c))
		return 3, err
	}
	return 0, fmt.Errorf("unknown escape %q", rest[:1])
}
