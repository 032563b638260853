package compare

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// output is what a command writes, without the last line break.
func output(tb testing.TB, words ...string) string {
	tb.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%q: %v\n%s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

// command runs one of a deploy script.
func (s *site) command(words ...string) said {
	s.Helper()
	return saidBy(s, exec.Command(words[0], words[1:]...))
}

// saidBy runs a command and returns what it says: its first line, if it fails.
func saidBy(tb testing.TB, cmd *exec.Cmd) said {
	tb.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("cannot run %q: %v", cmd.Args, err)
	}
	s := said{status: cmd.ProcessState.ExitCode()}
	if s.status != 0 {
		for line := range strings.Lines(string(out)) {
			if s.words = strings.TrimSpace(line); !strings.HasPrefix(line, "[NOTICE]") { // of HAProxy: what it is
				break
			}
		}
	}
	return s
}
