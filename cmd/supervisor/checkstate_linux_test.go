package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStatesOfOtherVersionsAreChecked: what a running supervisor has written down,
// as an older and a newer one would have written it.
func TestStatesOfOtherVersionsAreChecked(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"web"})
	l.serves()
	text, err := os.ReadFile(filepath.Join(l.runDir(), "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(text, []byte("\n"))
	for _, c := range []struct {
		name           string
		version, reads int
		add            string // a field
		want           string // "" if it is fit
	}{
		{"this one's", 1, 1, "", ""},
		{"this one's, with a field too many", 1, 1, "mood", "unknown field"},
		{"an older one's", 0, 0, "", "the state is of version 0"},
		{"the next one's", 2, 1, "mood", ""},
		{"the next one's, that this one is too old for", 2, 2, "", "it wants one of version 2"},
		{"one of the future", 3, 1, "", "the state is of version 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fields := map[string]any{}
			if err := json.Unmarshal(body, &fields); err != nil {
				t.Fatal(err)
			}
			fields["version"], fields["reads"] = c.version, c.reads
			if c.add != "" {
				fields[c.add] = "good"
			}
			said, err := check(t, c.version, fields, l.args)
			if fit := err == nil; fit != (c.want == "") || !strings.Contains(said, c.want) {
				t.Errorf("it says %q (%v), want %q", said, err, c.want)
			}
		})
	}
	l.stop()
}

// check has a binary look at a state.
func check(t *testing.T, version int, fields map[string]any, args []string) (said string, err error) {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	state := os.NewFile(uintptr(fd), "state")
	defer state.Close()
	if _, err := fmt.Fprintf(state, "supervisor-state %d %d %x\n%s", version, len(body), sha256.Sum256(body), body); err != nil {
		t.Fatal(err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("supervisor", append([]string{"check-state", "--"}, args...)...)
	cmd.Env = append(os.Environ(), stateEnv+"=3")
	cmd.ExtraFiles = []*os.File{state}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
