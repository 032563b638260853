package systemdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Processes returns the processes in the cgroup of a unit and in those below
// it, by their pids inside, in ascending order. A unit that has no cgroup has
// none. Zombies are not counted: their cgroup is over (cgroups(7)).
func (m *Machine) Processes(t testing.TB, unit string) []int {
	t.Helper()
	group := m.Show(t, unit, "ControlGroup")
	if group == "" {
		return nil
	}
	var pids []int
	err := filepath.WalkDir(m.Path("/sys/fs/cgroup"+group), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "cgroup.procs" {
			var found []int
			found, err = m.members(path)
			pids = append(pids, found...)
		}
		if gone(err) {
			return nil // a cgroup that was removed meanwhile
		}
		return err
	})
	if err != nil {
		t.Fatalf("cannot list the processes of %s: %v", unit, err)
	}
	slices.Sort(pids)
	return slices.Compact(pids) // one may have moved meanwhile
}

// members returns the processes of one cgroup.procs that are still there.
func (m *Machine) members(path string) ([]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, outside := range strings.Fields(string(text)) {
		pid, err := insidePID(outside)
		switch {
		case err == nil:
			pids = append(pids, pid)
		case !gone(err):
			return nil, err
		}
	}
	return pids, nil
}

// insidePID translates a pid. The first number of NSpid is the pid here, the
// second that in the namespace below (proc_pid_status(5)).
func insidePID(outside string) (int, error) {
	text, err := os.ReadFile("/proc/" + outside + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if pids := strings.Fields(rest); len(pids) > 1 {
				return strconv.Atoi(pids[1])
			}
		}
	}
	return 0, fmt.Errorf("process %s is not in the instance", outside)
}

// gone tells the errors of files of /proc and of cgroups whose process or
// cgroup has gone.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}
