package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Memory is what the processes of the group use, in bytes: where the memory
// controller is on, memory.current without what the kernel can take back at
// once, which is what operators know as the working set; else the sum of
// [MemoryOf] over its processes. The sum leaves out what the kernel holds for
// them (sockets, page tables), and costs some microseconds for each MiB.
func (g *Group) Memory() (bytes uint64, err error) {
	text, err := g.read("memory.current")
	if errors.Is(err, unix.ENOENT) {
		return g.sum()
	}
	if err != nil {
		return 0, fmt.Errorf("cannot tell the memory of a cgroup: %w", err)
	}
	if bytes, err = amount(text); err != nil {
		return 0, fmt.Errorf("cannot tell the memory of %s: %w", g.path, err)
	}
	stat, err := g.read("memory.stat")
	if err != nil {
		return 0, fmt.Errorf("cannot tell the memory of a cgroup: %w", err)
	}
	return inUse(bytes, stat), nil
}

func (g *Group) sum() (uint64, error) {
	procs, err := g.procs()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, pid := range procs {
		one, err := MemoryOf(pid)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

// MemoryOf is what one process uses, in bytes: its share of all pages that it
// has in memory (Pss of smaps_rollup, proc_pid_smaps(5), Linux 4.14), with pages
// that n processes have counted as an nth. Where that may not be read, as of a
// process of another user, it is the pages that come from no file (RssAnon and
// RssShmem of status). A process that has ended uses none.
func MemoryOf(pid int) (bytes uint64, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if text, err := os.ReadFile(dir + "/smaps_rollup"); err == nil {
		if pss, ok := kilobytes(text, "Pss"); ok {
			return pss, nil
		}
	}
	text, err := os.ReadFile(dir + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot tell the memory of process %d: %w", pid, err)
	}
	anon, _ := kilobytes(text, "RssAnon") // a zombie has none of these lines
	shmem, _ := kilobytes(text, "RssShmem")
	return anon + shmem, nil
}
