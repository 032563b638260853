package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Room is how much memory may still be used.
type Room struct {
	// Free is how much, in bytes.
	Free uint64
	// Source says in words which limit it is that leaves no more:
	// "memory.max of /system.slice/web.service is 512 MiB, 400 MiB are used".
	Source string
}

// Headroom says how much memory this process and its children may still use:
// the least of what is left below memory.max of its cgroup and of those above
// it, and of MemAvailable, proc_meminfo(5). What the kernel can take back at once
// is not counted as used. Limits of cgroup v1, and those outside of the cgroup
// namespace, are not seen.
func Headroom() (Room, error) { return headroom("/proc") }

func headroom(proc string) (Room, error) {
	text, err := os.ReadFile(proc + "/meminfo")
	if err != nil {
		return Room{}, fmt.Errorf("cannot tell the free memory: %w", err)
	}
	free, ok := kilobytes(text, "MemAvailable")
	if !ok {
		return Room{}, errors.New("cannot tell the free memory: /proc/meminfo has no MemAvailable")
	}
	least := Room{Free: free, Source: "MemAvailable is " + mebibytes(free)}
	p, err := whereIs(proc + "/self")
	for ok := err == nil; ok; p, ok = p.parent() { // without cgroups, there is no limit of theirs
		if room, limited, err := roomIn(p); err != nil {
			return Room{}, err
		} else if limited && room.Free < least.Free {
			least = room
		}
	}
	return least, nil
}

// roomIn is what a cgroup leaves; false if it has no limit.
func roomIn(p place) (Room, bool, error) {
	text, err := os.ReadFile(filepath.Join(p.dir(), "memory.max"))
	if errors.Is(err, fs.ErrNotExist) { // its memory controller is off
		return Room{}, false, nil
	}
	if err != nil {
		return Room{}, false, fmt.Errorf("cannot tell the free memory: %w", err)
	}
	limit, err := amount(text)
	if err != nil || limit == unlimited {
		return Room{}, false, err
	}
	if text, err = os.ReadFile(filepath.Join(p.dir(), "memory.current")); err != nil {
		return Room{}, false, fmt.Errorf("cannot tell the free memory: %w", err)
	}
	current, err := amount(text)
	if err != nil {
		return Room{}, false, fmt.Errorf("cannot tell the free memory: memory.current of %s: %w", p.name(), err)
	}
	stat, err := os.ReadFile(filepath.Join(p.dir(), "memory.stat"))
	if err != nil {
		return Room{}, false, fmt.Errorf("cannot tell the free memory: %w", err)
	}
	used := inUse(current, stat)
	return Room{
		Free:   limit - min(limit, used),
		Source: fmt.Sprintf("memory.max of %s is %s, %s are used", p.name(), mebibytes(limit), mebibytes(used)),
	}, true, nil
}
