package upgrade

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxEnvFile is the size of the largest environment file, in bytes.
const maxEnvFile = 1 << 20

// IsReserved reports whether a variable of an environment is the supervisor's own
// to set.
func IsReserved(key string) bool {
	return strings.HasPrefix(key, "SUPERVISOR_") || strings.HasPrefix(key, "LISTEN_") || key == "NOTIFY_SOCKET"
}

// CheckEnvFiles says why files cannot be those of a Program: each is an absolute
// path, with a "-" before it if the file need not be there.
func CheckEnvFiles(files []string) error {
	for _, file := range files {
		path := strings.TrimPrefix(file, "-")
		switch {
		case strings.ContainsRune(path, 0):
			return fmt.Errorf("%q contains a NUL byte", path)
		case !filepath.IsAbs(path):
			return fmt.Errorf("%q is not an absolute path", path)
		}
	}
	return nil
}

// readEnvFiles reads environment files, one after the other. Of a variable that is
// there twice the last one counts.
func readEnvFiles(files []string) ([]string, error) {
	if err := CheckEnvFiles(files); err != nil {
		return nil, fmt.Errorf("environment file %w", err)
	}
	var env []string
	for _, file := range files {
		path, optional := strings.CutPrefix(file, "-")
		text, err := readEnvFile(path)
		if optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("environment file %s: %w", path, bare(err))
		}
		entries, err := ParseEnvFile(path, text)
		if err != nil {
			return nil, fmt.Errorf("environment file %w", err)
		}
		env = append(env, entries...)
	}
	return env, nil
}

// readEnvFile waits for nobody who might open the other end of a FIFO.
func readEnvFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err == nil && len(text) > maxEnvFile {
		err = fmt.Errorf("it has more than %d bytes", maxEnvFile)
	}
	return text, err
}

// ParseEnvFile reads text as systemd reads a file of EnvironmentFile=
// (systemd.exec(5)) and returns its entries, KEY=VALUE, in their order. What
// systemd would pass over in silence is an error, of the form FILE:LINE: cause,
// in which no value is told: it may be a secret.
func ParseEnvFile(file string, text []byte) ([]string, error) {
	p := envParser{rest: text, line: 1}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, fmt.Errorf("%s:%d: it contains a NUL byte", file, 1+bytes.Count(text[:i], []byte("\n")))
	}
	var env []string
	for p.skip() {
		line := p.line
		entry, err := p.assignment()
		if err == nil && !utf8.ValidString(entry) {
			err = errors.New("it is not UTF-8")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
		env = append(env, entry)
	}
	return env, nil
}

// envParser walks over an environment file.
type envParser struct {
	rest []byte
	line int
}

// next takes one character; 0 is the end. A line ends with any of CR, LF and both.
func (p *envParser) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	if c == '\r' {
		c = '\n'
		if len(p.rest) > 0 && p.rest[0] == '\n' {
			p.rest = p.rest[1:]
		}
	}
	if c == '\n' {
		p.line++
	}
	return c
}

// skip passes over empty lines and comments; false at the end.
func (p *envParser) skip() bool {
	for len(p.rest) > 0 {
		switch p.rest[0] {
		case ' ', '\t', '\n', '\r':
			p.next()
		case '#', ';':
			for c := p.next(); c != 0 && c != '\n'; {
				c = p.next()
			}
		default:
			return true
		}
	}
	return false
}

// assignment takes KEY=VALUE.
func (p *envParser) assignment() (string, error) {
	var key []byte
	c := p.next()
	for ; c != '=' && c != '\n' && c != 0; c = p.next() {
		key = append(key, c)
	}
	name := strings.TrimRight(string(key), " \t")
	switch {
	case c != '=':
		return "", errors.New("it is not of the form KEY=VALUE")
	case !isVariable(name):
		return "", fmt.Errorf("%q is not the name of a variable: letters, digits and _, not beginning with a digit", name)
	case IsReserved(name):
		return "", fmt.Errorf("%s is set by the supervisor itself; leave it out", name)
	}
	value, err := p.value()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return name + "=" + value, nil
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// value takes what stands behind the sign: parts in quotes, then what is not. A
// quote within a word is a character like any other.
func (p *envParser) value() (string, error) {
	var value []byte
	for {
		switch c := p.next(); c {
		case 0, '\n':
			return string(value), nil
		case ' ', '\t':
		case '\'', '"':
			part, err := p.quoted(c)
			if err != nil {
				return "", err
			}
			value = append(value, part...)
		default:
			return string(append(value, p.plain(c)...)), nil
		}
	}
}

// quoted takes the rest of what stands in quotes.
func (p *envParser) quoted(quote byte) ([]byte, error) {
	var part []byte
	for {
		c := p.next()
		if c == '\\' && quote == '"' {
			switch c = p.next(); c {
			case '"', '\\', '`', '$':
				part = append(part, c)
				continue
			case '\n':
				continue
			case 0:
			default:
				part = append(part, '\\', c)
				continue
			}
		}
		switch c {
		case 0:
			return nil, fmt.Errorf("its %c is never closed", quote)
		case quote:
			return part, nil
		}
		part = append(part, c)
	}
}

// plain takes the rest of a value that stands in no quotes and begins with c. Space
// at its end does not belong to it, unless a backslash is before it.
func (p *envParser) plain(c byte) []byte {
	var part []byte
	end := 0
	for ; c != 0 && c != '\n'; c = p.next() {
		switch {
		case c == '\\':
			if c = p.next(); c == 0 {
				return part[:end]
			}
			if c != '\n' {
				part = append(part, c)
			}
			end = len(part)
		default:
			part = append(part, c)
			if c != ' ' && c != '\t' {
				end = len(part)
			}
		}
	}
	return part[:end]
}

// digest identifies what is added to the environment of a release without telling
// it; "" for nothing.
func digest(env []string) string {
	if len(env) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, entry := range env {
		_, _ = io.WriteString(sum, entry+"\x00") // a hash takes all
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:16])
}
