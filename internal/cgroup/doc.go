// Package cgroup keeps each generation in a control group of its own, so that
// all of its processes can be ended at once and its memory can be told.
//
// It works on the part of the cgroup v2 tree that was delegated to this process
// (systemd.resource-control(5), Delegate=), and on nothing else: the process
// itself goes into the leaf "supervisor" of it, and generation N into
// "generation-N" beside that. A process cannot leave its group by a fork, a
// session of its own or a cleared environment, which is why this is the surest
// way to end one; package orphan is for where nothing is delegated.
//
// A crash leaves the groups where they are. systemd starts the next supervisor
// in the delegated group itself, beside them, or in the leaf where the unit has
// DelegateSubgroup= (254); it goes into the leaf as the first one did, and finds
// the groups of living generations by their numbers.
//
// What is said here of the kernel is in its
// Documentation/admin-guide/cgroup-v2.rst unless another source is named.
package cgroup
