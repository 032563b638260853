package leaktest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leaveEnv has this program be one whose tests start that shell script, and leave
// what it leaves.
const leaveEnv = "LEAKTEST_LEAVE"

func TestMain(m *testing.M) {
	if script, ok := os.LookupEnv(leaveEnv); ok {
		os.Exit(withProcesses(func() int { return leave(script) }))
	}
	os.Exit(RunWithProcesses(m))
}

// leave runs the script in a process that is waited for.
func leave(script string) int {
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdin = os.Stdin
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// TestWhatIsLeftRunningIsFound: a process that runs on though its parent has ended,
// and not one that has ended too.
func TestWhatIsLeftRunningIsFound(t *testing.T) {
	for script, status := range map[string]int{"": 0, "true &": 0, "exit 1": 2, "cat <&0 &": 1} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), leaveEnv+"="+script)
		stdin, err := cmd.StdinPipe() // which ends what is left
		if err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		cmd.Stderr = &said
		_ = cmd.Run()
		_ = stdin.Close()
		if got := cmd.ProcessState.ExitCode(); got != status {
			t.Errorf("%q: status %d, want %d: %s", script, got, status, &said)
		}
		var left int
		if _, pids, found := strings.Cut(said.String(), "processes are left behind: "); found {
			_, err = fmt.Sscan(pids, &left)
		}
		if (left > 0) != (status == 1) || err != nil {
			t.Errorf("%q: %s %v", script, &said, err)
		}
		if left > 0 { // it is a child of this process now
			if _, err := unix.Wait4(left, nil, 0, nil); err != nil {
				t.Error(err)
			}
		}
	}
}
