package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFatalErrorHasThePriorityOfOne: in the journal, which standard error is; and
// nowhere else.
func TestFatalErrorHasThePriorityOfOne(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]string{
		"journal": "<3>error: cannot run this:\n<3>  --bake: must not be negative: -1s\n<3>  --log-level: \"loud\" is none of debug, info, warn, error\n",
		"another": "error: cannot run this:\n  --bake: must not be negative: -1s\n  --log-level: \"loud\" is none of debug, info, warn, error\n",
	} {
		path := filepath.Join(t.TempDir(), "stream")
		stderr, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer stderr.Close()
		info, err := stderr.Stat()
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		inode := st.Ino
		if stream == "another" {
			inode++
		}
		cmd := exec.Command("supervisor", "run", "--listen", "http=tcp://127.0.0.1:0", "--bake=-1s", "--log-level=loud", "--", "/bin/true")
		cmd.Stderr, cmd.Env = stderr, append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, inode))
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%s: %v", stream, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %v, it says\n%swant\n%s", stream, err, text, want)
		}
	}
}
