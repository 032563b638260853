package orphan

import (
	"context"
	"fmt"
)

// Family lists the processes that belong to the one with the number leader: those
// below it, and those of the process group with that number, which may have lost
// their parent; not itself, and no zombies. It reads one file of each process on the
// machine, and refuses to if there are more than most; ctx bounds how long that takes.
func Family(ctx context.Context, leader, group, most int) ([]int, error) {
	numbers, err := readNumbers("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	if len(numbers) > most {
		return nil, fmt.Errorf("cannot look at %d processes, at most at %d", len(numbers), most)
	}
	table, err := readAll(ctx, numbers)
	if err != nil {
		return nil, err
	}
	return familyOf(table, leader, group), nil
}

// IsEnding reports whether a process has ended, or is about to close all that it has
// because it ends.
func IsEnding(pid int) bool {
	p, err := readProcess(pid)
	return isGone(err) || err == nil && (p.dead() || p.flags&exiting != 0)
}

// familyOf is what Family finds in a table.
func familyOf(table []Process, leader, group int) []int {
	tree := make([]Process, len(table))
	for i, p := range table { // as if those of the group had not lost their parent
		if p.group == group && p.PID != leader {
			p.Parent = leader
		}
		tree[i] = p
	}
	var all []int
	for _, p := range below(tree, leader, nil) {
		if !p.dead() {
			all = append(all, p.PID)
		}
	}
	return all
}
