package faults

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"example.com/supervisor/internal/leaktest"
	"golang.org/x/sys/unix"
)

// atOnce is how many runs there are at the same time, unless -parallel says it.
const atOnce = 6

// TestMain fails when a test leaves a descriptor open or a process behind: what
// has lost its parent becomes a child of this process (PR_SET_CHILD_SUBREAPER,
// prctl(2)), so that it is found.
func TestMain(m *testing.M) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot look for processes that are left:", err)
		os.Exit(1)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // runs wait, mostly
		_ = f.Value.Set(strconv.Itoa(atOnce))
	}
	code := leaktest.Run(m, nil)
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid == 0 && err == nil {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
			fmt.Fprintf(os.Stderr, "processes are left behind: %s\n", children)
			code = 1
		}
		if pid <= 0 {
			os.Exit(code)
		}
	}
}
