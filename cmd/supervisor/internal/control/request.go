package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/upgrade"
)

const (
	// maxBody is the size of the largest request body, in bytes.
	maxBody = 1 << 20
	// maxNote is the length of the longest note, in bytes.
	maxNote = 1024
)

// decodeRequest reads the body of an upgrade or a rollback. An empty body is
// the zero Request.
func decodeRequest(body io.Reader, kind upgrade.Kind) (upgrade.Request, error) {
	var r upgrade.Request
	if err := decodeBody(body, &r); err != nil {
		return upgrade.Request{}, err
	}
	if kind == upgrade.KindRollback && r.Program != nil {
		return upgrade.Request{}, errors.New("program: a rollback takes none; it starts the previous release")
	}
	return r, checkRequest(r)
}

// decodeBody reads one JSON object, or nothing, into v. Unknown fields and
// what follows the object are errors.
func decodeBody(body io.Reader, v any) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil
	}
	if text[0] != '{' { // null would be as good as nothing
		return errors.New("cannot read the request: it is not a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("cannot read the request: something follows the JSON object")
	}
	return nil
}

func checkRequest(r upgrade.Request) error {
	if r.Timeout < 0 {
		return fmt.Errorf("timeout_ns: must not be negative: %d", r.Timeout)
	}
	if r.IfGeneration < 0 {
		return fmt.Errorf("if_generation: generations are numbered from 1: %d", r.IfGeneration)
	}
	if len(r.Reason) > maxNote {
		return fmt.Errorf("reason: has %d bytes, more than %d", len(r.Reason), maxNote)
	}
	if strings.ContainsFunc(r.Reason, unicode.IsControl) {
		return errors.New("reason: contains a control character")
	}
	if r.Program == nil {
		return nil
	}
	return checkProgram(*r.Program)
}

// checkProgram refuses what could not be run, and a path whose meaning would
// depend on a directory that the caller does not know. A program without a command
// is the one that runs, spoken to otherwise.
func checkProgram(p upgrade.Program) error {
	speaks := p.Protocol != "" || p.Ready != "" || p.Stop != ""
	if len(p.Command) == 0 && !speaks || len(p.Command) > 0 && p.Command[0] == "" {
		return errors.New("program.command: no program given")
	}
	for _, word := range append(p.Command, p.Dir) {
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("program: %q contains a NUL byte", word)
		}
	}
	if name := first(p.Command); strings.ContainsRune(name, '/') && !filepath.IsAbs(name) {
		return fmt.Errorf("program.command: %q is a relative path; give an absolute one, or a name to be looked up in PATH", name)
	}
	if p.Dir != "" && !filepath.IsAbs(p.Dir) {
		return fmt.Errorf("program.dir: %q is a relative path; give an absolute one", p.Dir)
	}
	if err := config.CheckEnv(p.Env); err != nil {
		return fmt.Errorf("program.env: %w", err)
	}
	if err := upgrade.CheckEnvFiles(p.EnvFiles); err != nil {
		return fmt.Errorf("program.env_files: %w", err)
	}
	return nil
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
