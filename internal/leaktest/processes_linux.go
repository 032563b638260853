package leaktest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// RunWithProcesses is Run with all descriptors counted, and returns 1 as well if the
// tests leave a process behind. What a process has started and not waited for becomes
// a child of this one (PR_SET_CHILD_SUBREAPER, prctl(2)): so it is found, and so a test
// can wait for it.
func RunWithProcesses(m *testing.M) int {
	return withProcesses(func() int { return Run(m, nil) })
}

// withProcesses returns what run does, or 1 if it leaves a process behind.
func withProcesses(run func() int) int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot look for processes that are left:", err)
		return 1
	}
	status := run()
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid == 0 && err == nil {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
			fmt.Fprintf(os.Stderr, "processes are left behind: %s\n", children)
			return 1
		}
		if pid <= 0 {
			return status
		}
	}
}
