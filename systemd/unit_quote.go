package systemd

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// QuoteWord writes a word as an argument in ExecStart= and its like, so that
// systemd takes it as it is: nothing in it is a quote, a separator, a specifier
// or a variable (systemd.service(5), "Command lines"). A newline or NUL is an
// error: what has one is a mistake, and a NUL cannot be an argument.
func QuoteWord(word string) (string, error) {
	return quote(word, "$", "$$")
}

// quotePath does so for the program, in which "$" means nothing.
func quotePath(path string) (string, error) {
	return quote(path, "$", "$")
}

func quote(word string, dollar, escapedDollar string) (string, error) {
	if strings.ContainsAny(word, "\n\r") {
		return "", fmt.Errorf("%q has a line break; put it into a file, or into the program", word)
	}
	if strings.ContainsRune(word, 0) {
		return "", errors.New("a word of the command has a NUL byte")
	}
	var b strings.Builder
	for i := 0; i < len(word); {
		r, size := utf8.DecodeRuneInString(word[i:])
		switch {
		case r == utf8.RuneError && size == 1 || unicode.IsControl(r) || isNoncharacter(r):
			for _, c := range []byte(word[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	quoted := escapePercent(strings.ReplaceAll(b.String(), dollar, escapedDollar))
	if isPlain(word) {
		return quoted, nil
	}
	return `"` + quoted + `"`, nil
}

// isPlain reports whether word means the same without quotes. A word of any
// other character is quoted, whether it needs it or not.
func isPlain(word string) bool {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=,@+%$?&", r)
	}
	return word != "" && !strings.ContainsFunc(word, special)
}

// isNoncharacter: systemd does not take a line that has one for UTF-8
// (unichar_is_valid in src/basic/utf8.c).
func isNoncharacter(r rune) bool {
	return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}

// escapePercent keeps systemd from taking anything in s for a specifier.
func escapePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
