package compare

import (
	"fmt"
	"os"
	"testing"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/systemdtest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { systemdtest.Main(tidy{m}) }

// A tidy run of the tests leaves no descriptor open and no process behind.
type tidy struct{ m *testing.M }

// Run returns the status to exit with. What a process has started and not waited
// for becomes a child of this one (PR_SET_CHILD_SUBREAPER, prctl(2)): so it is
// found, and so the versions of a service that upgrades itself can be waited for.
func (t tidy) Run() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot look for processes that are left:", err)
		return 1
	}
	code := leaktest.Run(t.m, nil)
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid == 0 && err == nil {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
			fmt.Fprintf(os.Stderr, "processes are left behind: %s\n", children)
			return 1
		}
		if pid <= 0 {
			return code
		}
	}
}
