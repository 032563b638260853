// Package orphan ends the processes that a generation leaves behind where no
// cgroup holds them together, and reaps those that are given to this process.
//
// The launcher kills a generation's process group. What has left the group, by
// setsid(2) or a double fork, is known by a [Marker] in its environment, which a
// process inherits from the one that started it: [End] finds it wherever it is,
// be it our child, somebody else's or init's. It is not found
//
//   - if it cleared its environment (env -i, sudo) or wrote over it (setproctitle),
//     unless a process that has it is its parent, grandparent, ...;
//   - if it runs as another user or may not be traced, and this process is not
//     privileged: its environment may not be read then (PTRACE_MODE_READ,
//     ptrace(2)).
//
// [Adopt] makes such a process a descendant of this one at least, and
// [EndChildren] ends all of these when the supervisor itself ends. As PID 1 of a
// container it is left to nobody else anyway. A cgroup has none of these limits,
// which is why package cgroup comes first.
//
// What this process kills it holds by a pidfd first (pidfd_open(2), Linux 5.3) and
// recognises after that, so that a number that came to another process is no
// danger.
package orphan
