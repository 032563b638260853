package faults

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// memoryLeft is what a generation may use that is limited by its control group.
const memoryLeft = 64 << 20

// groupPattern is how control groups of tests are named.
const groupPattern = "supervisor-test-*"

// memoryFaults are those of a generation that needs more memory than it can have:
// it is denied any, which ends a Go program, or is killed for what it takes.
func memoryFaults(of func(*scene) int) []fault {
	needs := func(limit func(*scene, int)) func(*scene) {
		return func(s *scene) {
			s.Helper()
			limit(s, s.line(of(s)).pid)
			s.orderToEnd(of(s), "allocate")
		}
	}
	denied := func(s *scene, pid int) {
		s.Helper()
		switch _, err := outOfMemory(pid); {
		case errors.Is(err, fs.ErrNotExist): // it has ended by itself
			s.missed = true
		case err != nil:
			s.Fatal(err)
		}
	}
	return []fault{
		{name: "the %s generation gets no more memory (RLIMIT_DATA)", inject: needs(denied), fatal: true, turns: true},
		{name: "the %s generation exceeds its memory.max", inject: needs((*scene).group), fatal: true, turns: true, notRun: needsMemoryController},
	}
}

// A hierarchy is where control groups have a memory controller: cgroup v2, or v1
// beside it.
type hierarchy struct{ root, limit string }

// memoryHierarchy is that of this machine; false if there is none.
func memoryHierarchy() (hierarchy, bool) {
	for _, h := range []hierarchy{
		{"/sys/fs/cgroup", "memory.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		group, err := os.MkdirTemp(h.root, groupPattern)
		if err != nil {
			continue
		}
		_, err = os.Stat(filepath.Join(group, h.limit))
		if err = errors.Join(err, os.Remove(group)); err == nil {
			return h, true
		}
	}
	return hierarchy{}, false
}

func needsMemoryController() string {
	if _, ok := memoryHierarchy(); !ok {
		return "no control group with a memory controller can be made here; on most machines only root can"
	}
	return ""
}

// group puts a process into a control group that limits its memory, until the test
// ends.
func (s *scene) group(pid int) {
	s.Helper()
	h, _ := memoryHierarchy()
	group, err := os.MkdirTemp(h.root, groupPattern)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		var err error
		s.Poll("the control group to be empty", func() bool {
			err = os.Remove(group)
			return !errors.Is(err, syscall.EBUSY)
		}, func() any { return err })
		if err != nil {
			s.Error(err)
		}
	})
	for _, setting := range [][2]string{{h.limit, strconv.Itoa(memoryLeft)}, {"memory.swap.max", "0"}, {"cgroup.procs", strconv.Itoa(pid)}} {
		err := writeTo(filepath.Join(group, setting[0]), setting[1])
		switch {
		case errors.Is(err, syscall.ESRCH): // it has ended by itself
			s.missed = true
		case err != nil && setting[0] != "memory.swap.max": // which is not there without swap accounting
			s.Fatal(err)
		}
	}
}

// writeTo writes to a file that is there.
func writeTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
