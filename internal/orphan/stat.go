package orphan

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Process is a process at one time: its start time tells it from a later one
// with the same number.
type Process struct {
	PID, Parent int
	Start       uint64 // in clock ticks since the boot, proc_pid_stat(5)
	Name        string // of its program, shortened to 15 bytes by the kernel

	group   int
	flags   int
	state   byte
	threads int
}

// dead reports whether no thread of the process runs any more. A leader that has
// ended before its other threads is a zombie too.
func (p Process) dead() bool {
	return p.state == 'X' || p.state == 'Z' && p.threads <= 1
}

// exiting is PF_EXITING of include/linux/sched.h: the process closes what it has.
const exiting = 0x4

var errStat = errors.New("this is no stat file of a process")

// parseStat reads /proc/PID/stat, proc_pid_stat(5). The name may hold anything,
// parentheses and line ends included; the last parenthesis ends it.
func parseStat(text []byte) (Process, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return Process{}, errStat
	}
	fields := strings.Fields(string(text[end+1:])) // the first is number 3 of the page
	if len(fields) < 20 || len(fields[0]) != 1 {
		return Process{}, errStat
	}
	p := Process{Name: string(text[open+1 : end]), state: fields[0][0]}
	var err error
	number := func(s string) int {
		n, wrong := strconv.Atoi(s)
		err = errors.Join(err, wrong)
		return n
	}
	p.PID = number(strings.TrimSpace(string(text[:open])))
	p.Parent, p.group, p.flags, p.threads = number(fields[1]), number(fields[2]), number(fields[6]), number(fields[17])
	start, wrong := strconv.ParseUint(fields[19], 10, 64)
	p.Start = start
	if errors.Join(err, wrong) != nil || p.PID < 1 || p.Parent < 0 {
		return Process{}, errStat
	}
	return p, nil
}

// below lists the processes of a table below pid, parents before their children.
// Those for which except holds are left out with all that is below them.
func below(table []Process, pid int, except func(pid int) bool) []Process {
	children := map[int][]Process{}
	for _, p := range table {
		if p.PID != p.Parent {
			children[p.Parent] = append(children[p.Parent], p)
		}
	}
	var all []Process
	seen := map[int]bool{pid: true} // a table that was read while it changed may have a ring
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			if seen[p.PID] || except != nil && except(p.PID) {
				continue
			}
			seen[p.PID] = true
			all, next = append(all, p), append(next, p.PID)
		}
	}
	return all
}
