package cgroup

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// unlimited is what "max" means in a file of a limit.
const unlimited = math.MaxUint64

// amount reads a file with a single number, or "max".
func amount(text []byte) (uint64, error) {
	s := strings.TrimSpace(string(text))
	if s == "max" {
		return unlimited, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// keyed reads the number of a key in a file of "key number" lines, as in
// cgroup.events and memory.stat.
func keyed(text []byte, key string) (uint64, bool) {
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) == 2 && f[0] == key {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// kilobytes reads, in bytes, the figure of a key in a file of "Key:  number kB"
// lines: /proc/meminfo, status and smaps_rollup of a process.
func kilobytes(text []byte, key string) (uint64, bool) {
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) == 3 && f[0] == key+":" && f[2] == "kB" {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n << 10, err == nil && n <= math.MaxUint64>>10
		}
	}
	return 0, false
}

// pids reads a file of process numbers, as cgroup.procs. A process that is not
// in our pid namespace is shown as 0, and left out: 0 is our own process group
// to kill(2).
func pids(text []byte) []int {
	var all []int
	for line := range bytes.Lines(text) {
		pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
		if err == nil && pid > 0 {
			all = append(all, pid)
		}
	}
	return all
}

// groupPrefix and a number are the name of a generation's group.
const groupPrefix = "generation-"

func groupName(generation int) string { return groupPrefix + strconv.Itoa(generation) }

// generationOf is the inverse of groupName.
func generationOf(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(name, groupPrefix))
	return n, err == nil && n > 0 && name == groupName(n)
}

// inUse is what of a cgroup's memory cannot be had back without harm: the kernel
// gives back at once the file pages that were not used for long, and what it
// remembers about files. A service that reads files fills its cgroup with these
// up to the limit in time, and is not short of memory for that.
func inUse(current uint64, stat []byte) uint64 {
	inactive, _ := keyed(stat, "inactive_file")
	slab, _ := keyed(stat, "slab_reclaimable")
	return current - min(current, inactive) - min(current-min(current, inactive), slab)
}

// mebibytes writes an amount for people.
func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }
