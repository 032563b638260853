package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A Group is the cgroup of one generation, with all that is below it. Its
// methods may be called concurrently, but for Remove and Close, which end it.
type Group struct {
	tree *Tree
	fd   int // keeps a group that is made anew under this name apart from this one
	path string
}

// FD is for [syscall.SysProcAttr.CgroupFD]: a process that is started with it is
// in the group from its first instruction on (clone3(2), CLONE_INTO_CGROUP, Linux
// 5.7). It is lent until Remove or Close.
func (g *Group) FD() int { return g.fd }

// Enter moves this process, all of its threads, into the group until leave, so
// that a child which is forked meanwhile is in the group from its first
// instruction on: for where the system does not allow FD. A child that is moved
// only after its start may have forked before. One group is entered at a time;
// Enter waits until the last one was left. What else is forked meanwhile gets
// into the group as well.
func (g *Group) Enter() (leave func() error, err error) {
	g.tree.entering.Lock()
	defer func() {
		if err != nil {
			g.tree.entering.Unlock()
			err = fmt.Errorf("cannot enter the cgroup %s: %w", g.path, err)
		}
	}()
	// Opened first: what is left to fail then is one write.
	back, err := os.OpenFile(filepath.Join(g.tree.path, leafName, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := put(filepath.Join(g.path, "cgroup.procs"), "0"); err != nil {
		return nil, errors.Join(err, back.Close())
	}
	return func() error {
		defer g.tree.entering.Unlock()
		_, err := back.WriteString("0")
		if err = errors.Join(err, back.Close()); err != nil {
			return fmt.Errorf("cannot leave the cgroup %s: %w", g.path, err)
		}
		return nil
	}, nil
}

// Path is the folder of the group in the file system.
func (g *Group) Path() string { return g.path }

// Close lets go of the group and leaves it where it is.
func (g *Group) Close() error { return unix.Close(g.fd) }

// Populated reports whether a process of the group, or of one below it, is alive.
// Zombies are not, and a group that is gone has none.
func (g *Group) Populated() (bool, error) {
	text, err := g.read("cgroup.events")
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot see whether %s is empty: %w", g.path, err)
	}
	return g.populated(text)
}

// populated reads what cgroup.events says.
func (g *Group) populated(events []byte) (bool, error) {
	n, ok := keyed(events, "populated")
	if !ok {
		return false, fmt.Errorf("cannot see whether %s is empty: cgroup.events does not say", g.path)
	}
	return n != 0, nil
}

// Remove waits until the group is empty, and removes it with the groups that the
// generation made below it. It closes g, whatever it returns; a group that could
// not be removed can be had again from [Tree.Group].
func (g *Group) Remove(ctx context.Context) error {
	defer g.Close()
	w, err := g.watch(ctx)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot watch the cgroup %s: %w", g.path, err)
	}
	defer w.close()
	for {
		populated, err := w.populated()
		if err != nil {
			return err
		}
		pause := lookAgain
		if !populated {
			if err := g.removeAll(); !errors.Is(err, unix.EBUSY) {
				return err
			}
			pause = removeAgain
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cannot remove the cgroup %s, %s: %w", g.path, g.describe(), context.Cause(ctx))
		}
		w.change(pause)
	}
}

// removeAll removes the group and those below it, the deepest first.
func (g *Group) removeAll() error {
	dirs, err := below(g.path)
	if err != nil {
		return fmt.Errorf("cannot remove a cgroup: %w", err)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !isGone(err) {
			return fmt.Errorf("cannot remove the cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// describe says who holds the group, for an error.
func (g *Group) describe() string {
	procs, err := g.procs()
	if err != nil || len(procs) == 0 {
		return "which seems empty"
	}
	return fmt.Sprintf("which has %d processes (pid %d first)", len(procs), procs[0])
}

// procs lists the processes of the group and of those below it.
func (g *Group) procs() ([]int, error) {
	dirs, err := below(g.path)
	var all []int
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		switch {
		case isGone(err):
		case errors.Is(err, unix.EOPNOTSUPP): // of threads; the group above lists their processes
		case err != nil:
			return nil, fmt.Errorf("cannot list processes: %w", err)
		}
		all = append(all, pids(text)...)
	}
	return all, err
}

// below lists the folder dir and all below it, each before its own.
func below(dir string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case isGone(err):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			dirs = append(dirs, name)
		}
		return nil
	})
	return dirs, err
}

// read reads a file of the group.
func (g *Group) read(name string) ([]byte, error) {
	f, err := g.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (g *Group) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(g.fd, name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(g.path, name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(g.path, name)), nil
}

// isGone reports whether an error means that the cgroup was removed.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
