package systemd

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// QuoteWord writes a word as an argument in ExecStart= and its like, so that
// systemd takes it as it is: nothing in it is a quote, a separator, a specifier
// or a variable (systemd.service(5), "Command lines"). What has a line break is
// taken for a mistake, and what is not UTF-8 systemd would run but not tell of:
// "systemctl show" fails for such a unit.
func QuoteWord(word string) (string, error) {
	quoted, err := quotePath(word)
	return strings.ReplaceAll(quoted, "$", "$$"), err
}

// quotePath does so for the program, in which "$" means nothing.
func quotePath(word string) (string, error) {
	switch {
	case strings.ContainsAny(word, "\n\r"):
		return "", fmt.Errorf("%q has a line break; put it into a file that the program reads", word)
	case strings.ContainsRune(word, 0):
		return "", fmt.Errorf("%q has a NUL byte", word)
	case !utf8.ValidString(word) || strings.ContainsFunc(word, isNoncharacter):
		return "", fmt.Errorf("%q is not UTF-8, which a unit must be", word)
	}
	var b strings.Builder
	for _, r := range word {
		switch {
		case unicode.IsControl(r):
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	quoted := escapePercent(b.String())
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

// isNoncharacter: systemd does not take a text that has one for UTF-8
// (unichar_is_valid in src/basic/utf8.c).
func isNoncharacter(r rune) bool {
	return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}

// escapePercent keeps systemd from taking anything in s for a specifier.
func escapePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
