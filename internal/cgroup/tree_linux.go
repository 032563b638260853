package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotDelegated says that there is no cgroup that this process may rule. The
// error that wraps it says why.
var ErrNotDelegated = errors.New("no cgroup is delegated to this process")

// A Tree is the delegated cgroup. Its methods may be called concurrently, but
// for Close, which ends it.
type Tree struct {
	path string
	lock int // a descriptor; -1: none

	entering sync.Mutex // held while this process is in a group
}

// Own finds the cgroup v2 tree that was delegated to this process, and moves
// this process, all of its threads, into the leaf "supervisor" of it. The error
// wraps [ErrNotDelegated] where there is none. Children that were started before
// stay where they are.
//
// The tree is for one supervisor at a time: it is locked (flock(2)) until Close
// or the end of the process, an exec included.
//
// Where systemd started this process in the leaf (DelegateSubgroup=, since 254),
// the memory and pids controllers are turned on for the groups. Elsewhere systemd
// starts the next supervisor in the tree itself, which a controller that is on
// forbids; there they stay off, and [Group.Memory] sums up.
func Own() (*Tree, error) {
	here, tree, err := find()
	if err != nil {
		return nil, err
	}
	t := &Tree{path: tree.dir(), lock: -1}
	if err := t.settle(here.dir()); err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("%w: %w", ErrNotDelegated, err)
	}
	return t, nil
}

// Find finds the same tree for a process beside the supervisor, as one that
// systemd runs when the service has stopped (ExecStopPost=). It moves, locks and
// makes nothing.
func Find() (*Tree, error) {
	_, tree, err := find()
	if err != nil {
		return nil, err
	}
	return &Tree{path: tree.dir(), lock: -1}, nil
}

// find returns the own cgroup and the delegated one.
func find() (here, tree place, err error) {
	if here, err = whereIs("/proc/self"); err == nil {
		tree, err = delegated(here)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotDelegated, err)
	}
	return here, tree, err
}

// settle locks the tree and moves this process to the leaf, if it is not there.
func (t *Tree) settle(here string) error {
	if err := t.hold(); err != nil {
		return err
	}
	leaf := filepath.Join(t.path, leafName)
	if here == leaf {
		if startedThere(leaf) {
			enable(t.path)
		}
		return nil
	}
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return readOnly(fmt.Errorf("cannot make the supervisor's own cgroup: %w", err))
	}
	_ = unix.Setxattr(leaf, markName, []byte(markMove), 0) // where it cannot be set, none is taken for the other
	if err := put(filepath.Join(leaf, "cgroup.procs"), "0"); err != nil {
		return readOnly(fmt.Errorf("cannot move to the cgroup %s: %w", leaf, err))
	}
	return nil
}

// readOnly adds what to try.
func readOnly(err error) error {
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w (ProtectControlGroups=yes in the unit forbids it)", err)
	}
	return err
}

const (
	// lockTries and lockPause bound the wait for a child that a killed supervisor
	// forked and that has not come to its exec, where it lets go of the lock.
	lockTries = 50
	lockPause = 20 * time.Millisecond
)

// hold locks the tree: two supervisors in one cgroup would take and kill each
// other's generation 1.
func (t *Tree) hold() error {
	fd, err := unix.Open(t.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open the cgroup %s: %w", t.path, err)
	}
	t.lock = fd
	for try := 1; ; try++ {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK) && try < lockTries:
			time.Sleep(lockPause)
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("another supervisor has the cgroup %s", t.path)
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("cannot lock the cgroup %s: %w", t.path, err)
		}
	}
}

// Path is the folder of the tree in the file system.
func (t *Tree) Path() string { return t.path }

// Group makes the cgroup of a generation, or opens the one that is there
// already: after a crash, or an exec in place of the supervisor. The caller ends
// it with Remove or Close.
func (t *Tree) Group(generation int) (*Group, error) {
	if generation < 1 {
		return nil, fmt.Errorf("cannot make a cgroup for generation %d: they count from 1", generation)
	}
	dir := filepath.Join(t.path, groupName(generation))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make the cgroup of generation %d: %w", generation, err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the cgroup %s: %w", dir, err)
	}
	return &Group{tree: t, fd: fd, path: dir}, nil
}

// Left lists the generations whose groups are there, in order. A group may be
// empty.
func (t *Tree) Left() ([]int, error) {
	entries, err := os.ReadDir(t.path)
	if err != nil {
		return nil, fmt.Errorf("cannot list the cgroup of the generations: %w", err)
	}
	var left []int
	for _, e := range entries {
		if n, ok := generationOf(e.Name()); ok && e.IsDir() {
			left = append(left, n)
		}
	}
	slices.Sort(left)
	return left, nil
}

// Close lets go of the tree. The process stays in its leaf, and the groups where
// they are.
func (t *Tree) Close() error {
	if t.lock < 0 {
		return nil
	}
	fd := t.lock
	t.lock = -1
	return unix.Close(fd)
}
