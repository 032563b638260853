package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// leafName is the sub-group of the supervisor itself, for which
	// DelegateSubgroup= may stand in the unit.
	leafName = "supervisor"
	// controlName is where systemd runs the other commands of a unit that
	// delegates: ExecReload=, ExecStopPost=.
	controlName = ".control"
	// markName is an attribute of the leaf that says who put the supervisor
	// there; an exec in place must not take the one for the other.
	markName = "user.supervisor.started"
	markHere = "here"  // it was started there, by DelegateSubgroup=
	markMove = "moved" // it went there itself
)

// whereIs finds the cgroup of the process that proc, as /proc/self, tells of.
func whereIs(proc string) (place, error) {
	text, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return place{}, fmt.Errorf("cannot see the own cgroup: %w", err)
	}
	own := ownPath(text)
	if own == "" {
		return place{}, errors.New("this machine has no cgroup v2")
	}
	if text, err = os.ReadFile(proc + "/mountinfo"); err != nil {
		return place{}, fmt.Errorf("cannot see where cgroups are mounted: %w", err)
	}
	p, ok := locate(mounts(text), own)
	if !ok {
		return place{}, fmt.Errorf("cgroup v2 is mounted nowhere that shows %s", own)
	}
	return p, nil
}

// delegated finds the delegated cgroup of which p is, or is a sub-group that the
// supervisor or systemd made.
func delegated(p place) (place, error) {
	if up, ok := p.parent(); ok && (p.base() == leafName || p.base() == controlName) && isDelegated(up) {
		return up, nil
	}
	if isDelegated(p) {
		return p, nil
	}
	if p.name() == "/" {
		return place{}, errors.New("this process is in the root cgroup, which nobody delegates")
	}
	return place{}, fmt.Errorf("%s is not delegated (Delegate=yes in a unit does that)", p.name())
}

// isDelegated tells by the marks that systemd puts there (trusted.delegate, which
// only root sees, and user.delegate since 251), or by the owner: systemd gives
// the cgroup of a unit with User= away with Delegate= only. Below a user's own
// service manager all belongs to that user, so there the marks alone count.
// https://systemd.io/CGROUP_DELEGATION
func isDelegated(p place) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if attribute(p.dir(), name) == "1" {
			return true
		}
	}
	up, ok := p.parent()
	return ok && os.Geteuid() != 0 && isOurs(p) && !isOurs(up)
}

func isOurs(p place) bool {
	info, err := os.Stat(p.dir())
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// attribute reads an extended attribute; "" is none.
func attribute(dir, name string) string {
	var value [64]byte
	n, err := unix.Getxattr(dir, name, value[:])
	if err != nil {
		return ""
	}
	return string(value[:n])
}

// startedThere reports whether systemd started this process in the leaf, where
// it is: it is the first that is there, and could say so.
func startedThere(leaf string) bool {
	mark := attribute(leaf, markName)
	if mark == "" && unix.Setxattr(leaf, markName, []byte(markHere), 0) == nil {
		mark = markHere
	}
	return mark == markHere
}

// wanted are the controllers that tell what a generation uses.
var wanted = [...]string{"memory", "pids"}

// enable turns the wanted controllers on for the groups of the tree, as far as
// they are to be had. It is for a tree that has no processes of its own: with a
// controller on, systemd could start none there (EBUSY).
func enable(tree string) {
	if procs, err := os.ReadFile(tree + "/cgroup.procs"); err != nil || len(procs) > 0 {
		return
	}
	there, _ := os.ReadFile(tree + "/cgroup.controllers")
	for _, c := range wanted {
		if slices.Contains(strings.Fields(string(there)), c) {
			_ = put(tree+"/cgroup.subtree_control", "+"+c) // without it, memory is summed up
		}
	}
}

// put writes to a file of the cgroup file system.
func put(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
