package cgroup

import (
	"errors"
)

// ErrNotDelegated says that there is no cgroup that this process may rule. The
// error that wraps it says why.
var ErrNotDelegated = errors.New("no cgroup is delegated to this process")

// A Tree is the delegated cgroup. Its methods may be called concurrently.
type Tree struct {
	path string
}

// Own finds the cgroup v2 tree that was delegated to this process, and moves
// this process, all of its threads, into the leaf "supervisor" of it. The error
// wraps [ErrNotDelegated] where there is none. Children that were started before
// stay where they are.
func Own() (*Tree, error) { return nil, ErrNotDelegated }

// Find finds the same tree for a process beside the supervisor, as one that
// systemd runs when the service has stopped. It moves and makes nothing.
func Find() (*Tree, error) { return nil, ErrNotDelegated }

// Path is the folder of the tree in the file system.
func (t *Tree) Path() string { return t.path }

// Group makes the cgroup of a generation, or opens the one that is there
// already: after a crash, or an exec in place of the supervisor.
func (t *Tree) Group(generation int) (*Group, error) { return nil, ErrNotDelegated }

// Left lists the generations whose groups are there, in order.
func (t *Tree) Left() ([]int, error) { return nil, nil }

// Close lets go of the tree. The process stays in its leaf, and the groups where
// they are.
func (t *Tree) Close() error { return nil }
