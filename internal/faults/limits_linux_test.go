package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lower lowers a resource limit of a process, the soft one, which back raises again
// (prlimit(2)). Processes that it starts meanwhile have the lower one too, unless it
// sees to that.
func lower(pid, resource int, to uint64) (back func() error, err error) {
	var was unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &was); err != nil {
		return nil, fmt.Errorf("cannot read a limit of process %d: %w", pid, err)
	}
	now := was
	now.Cur = min(to, was.Cur)
	if err := unix.Prlimit(pid, resource, &now, nil); err != nil {
		return nil, fmt.Errorf("cannot lower a limit of process %d: %w", pid, err)
	}
	return func() error { return unix.Prlimit(pid, resource, &was, nil) }, nil
}

// outOfDescriptors has a process get no further descriptor, also where it closes
// some (RLIMIT_NOFILE, getrlimit(2)). Those that are open stay so.
func outOfDescriptors(pid int) (back func() error, err error) {
	return lower(pid, unix.RLIMIT_NOFILE, 3)
}

// outOfMemory has a process get no further memory to write to: its limit is what it
// has (RLIMIT_DATA, getrlimit(2); VmData, proc_pid_status(5)).
func outOfMemory(pid int) (back func() error, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil, err
	}
	_, data, _ := strings.Cut(string(text), "\nVmData:")
	var kibi uint64
	if _, err := fmt.Sscan(data, &kibi); err != nil {
		return nil, fmt.Errorf("process %d does not tell its VmData: %w", pid, err)
	}
	return lower(pid, unix.RLIMIT_DATA, kibi<<10)
}
