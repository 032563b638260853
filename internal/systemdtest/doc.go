// Package systemdtest runs tests against real systemds: the versions of
// Debian 12 and Debian 13, whatever the machine itself runs.
//
// It guarantees that each test has instances of its own, that nothing in one
// reaches the machine or another test, and that nothing of one is left when
// the test has ended, however it ended: no process, mount, cgroup or folder.
// Only an unpacked root of each version is kept, for the next run.
//
// An instance is systemd as PID 1 of its own namespaces (pid, mount, network,
// ipc, uts, cgroup) on an overlay over such a root, in a cgroup of its own. It
// shares the machine's kernel and, under the same path, one folder. What it
// starts at boot is the journal and D-Bus. It is a child of the test's process
// and the kernel kills it when that one dies (PR_SET_PDEATHSIG, prctl(2)); an
// empty cgroup and a folder are all that is left then, and the next run
// removes them.
//
// It is deliberately no container engine: root inside is root outside, and a
// unit under test is trusted as much as the test.
package systemdtest
