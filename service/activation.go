package service

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/listen"
)

const (
	// firstPassed is SD_LISTEN_FDS_START of sd_listen_fds(3).
	firstPassed = 3
	// maxPassed is more than can be passed: each has a name in LISTEN_FDNAMES, or
	// a number below the limit of open files.
	maxPassed = 1 << 16
)

// A passedSocket is one that systemd opened for this program.
type passedSocket struct {
	name string // FileDescriptorName= of its socket unit
	fd   int
}

// An activation is what the environment tells of sockets that were passed
// (sd_listen_fds(3)). A variable that is not set is empty.
type activation struct {
	pid   string // LISTEN_PID
	fds   string // LISTEN_FDS
	names string // LISTEN_FDNAMES
}

// takeActivation reads the variables and removes them, so that programs which
// this one starts do not take its descriptors for theirs.
func takeActivation() activation {
	a := activation{os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name) // fails on no such name
	}
	return a
}

// isFor reports whether sockets were passed to the process self. Variables that
// name another process were inherited from it and mean nothing here.
func (a activation) isFor(self int) bool {
	pid, err := strconv.Atoi(a.pid)
	return err == nil && pid == self
}

// sockets returns what the environment promises.
func (a activation) sockets() ([]passedSocket, error) {
	n, err := strconv.Atoi(a.fds)
	if err != nil || n < 0 || n > maxPassed {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number of descriptors: take it out of Environment= of the service unit, systemd sets it", a.fds)
	}
	if n == 0 {
		return nil, nil
	}
	if a.names == "" {
		return nil, errors.New("LISTEN_FDNAMES is not set, so the sockets have no names: " +
			"write FileDescriptorName= in the [Socket] section of each socket unit")
	}
	names := strings.Split(a.names, ":")
	if len(names) != n {
		return nil, fmt.Errorf("LISTEN_FDS=%d, but LISTEN_FDNAMES has %d names: "+
			"take both variables out of Environment= of the service unit, systemd sets them", n, len(names))
	}
	all := make([]passedSocket, n)
	for i, name := range names {
		all[i] = passedSocket{name, firstPassed + i}
	}
	return all, nil
}

// secure makes the descriptor close-on-exec. One that is so already cannot have
// come through execve(2): this process opened it itself since it started.
func (p passedSocket) secure() error {
	flags, err := unix.FcntlInt(uintptr(p.fd), unix.F_GETFD, 0)
	if err != nil {
		return fmt.Errorf("descriptor %d (%q) is not open: %w", p.fd, p.name, err)
	}
	if flags&unix.FD_CLOEXEC != 0 {
		return fmt.Errorf("descriptor %d (%q) was not passed but opened by this process: LISTEN_FDS is too high; take it out of Environment= of the service unit", p.fd, p.name)
	}
	unix.CloseOnExec(p.fd)
	return nil
}

// matchPassed finds the socket for each spec, in their order. Both must be the
// same: whatever is left over on one side is an error that names the line of the
// unit to mend. One case is sure without: a single spec and a single socket whose
// name is the one that systemd gives to a socket unit that says none.
func matchPassed(specs []listen.Spec, passed []passedSocket) ([]passedSocket, error) {
	if len(specs) == 1 && len(passed) == 1 && isDefaultName(passed[0].name) {
		return []passedSocket{{specs[0].Name, passed[0].fd}}, nil
	}
	var matched []passedSocket
	var failed error
	for _, spec := range specs {
		same := func(p passedSocket) bool { return p.name == spec.Name }
		at := slices.IndexFunc(passed, same)
		if at < 0 {
			failed = errors.Join(failed, missing(spec.Name, passed))
			continue
		}
		matched = append(matched, passed[at])
		if slices.ContainsFunc(passed[at+1:], same) {
			failed = errors.Join(failed, fmt.Errorf("systemd passed two listeners %q: all lines ListenStream= and others of one socket unit share its FileDescriptorName=, "+
				"so write one .socket unit for each socket, with a FileDescriptorName= of its own", spec.Name))
		}
	}
	for _, p := range passed {
		if !slices.ContainsFunc(specs, func(s listen.Spec) bool { return s.Name == p.name }) {
			failed = errors.Join(failed, fmt.Errorf("systemd passed a listener %q that Config.Listen does not have: write FileDescriptorName= in the [Socket] section of its socket unit "+
				"as Config.Listen has it, or take that unit out of Sockets= in the service unit", p.name))
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("cannot match Config.Listen with the sockets of systemd's socket units: %w", failed)
	}
	return matched, nil
}

// isDefaultName reports whether a socket unit that says no FileDescriptorName=
// would give that name: its own (systemd.socket(5)), or "unknown" where there is
// none (sd_listen_fds_with_names(3)).
func isDefaultName(name string) bool { return name == "unknown" || strings.HasSuffix(name, ".socket") }

func missing(name string, passed []passedSocket) error {
	there := "systemd passed none"
	if len(passed) > 0 {
		names := make([]string, len(passed))
		for i, p := range passed {
			names[i] = strconv.Quote(p.name)
		}
		there = "systemd passed " + strings.Join(names, ", ")
	}
	return fmt.Errorf("listener %q is missing (%s): write FileDescriptorName=%s in the [Socket] section of its socket unit, "+
		"and name that unit in Sockets= of the service unit", name, there, name)
}
