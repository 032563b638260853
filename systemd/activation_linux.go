package systemd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Inherit takes what the service manager passed to this process, and removes
// the variables that told of it (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES,
// LISTEN_PIDFDID) from the environment. It gives the descriptors to the caller.
// Where nothing was passed it returns the zero value.
//
// It is strict: what makes no sense is an error that names the line of the unit
// to mend, and then every descriptor that was passed is closed. Either way none
// is left that a child would inherit.
//
// It is to be called once, before the process starts others. The go-systemd
// library has a call for it, activation.Files, but that returns nothing at all
// where anything is wrong, and files, whose Fd makes a shared socket blocking.
func Inherit() (Inherited, error) {
	e := environment{pid: os.Getenv("LISTEN_PID"), fds: os.Getenv("LISTEN_FDS"), names: os.Getenv("LISTEN_FDNAMES")}
	for _, name := range variables() {
		os.Unsetenv(name) // never fails on a name without "=" and NUL
	}
	all, err := e.descriptors(os.Getpid())
	if err == nil {
		all, err = secure(all)
	}
	var i Inherited
	if err == nil {
		i, err = sortOut(all)
		err = errors.Join(err, judgeAll(i.Units))
	}
	if err != nil {
		e.closePassed(all)
		return Inherited{}, fmt.Errorf("cannot take the sockets that systemd passed: %w", err)
	}
	return i, nil
}

// secure makes every descriptor close-on-exec and every socket non-blocking,
// and returns those for which it did.
func secure(all []Descriptor) ([]Descriptor, error) {
	for i, d := range all {
		if err := secureOne(d.FD); err != nil {
			return all[:i], d.wrong(err)
		}
	}
	return all, nil
}

// secureOne refuses a descriptor that is close-on-exec: it cannot have come
// through execve(2), so this process has opened it itself since it started.
func secureOne(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		return fmt.Errorf("it is not open (%w): LISTEN_FDS is too high; take it out of Environment= of the service unit, systemd sets it", err)
	}
	if flags&unix.FD_CLOEXEC != 0 {
		return errors.New("it was not passed, this process opened it itself: LISTEN_FDS is too high; take it out of Environment= of the service unit, systemd sets it")
	}
	if isSocket(fd) {
		// systemd makes the sockets of socket units blocking at each start of
		// the service, for all who hold them; not with NonBlocking=yes.
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	return os.NewSyscallError("fcntl", err)
}

// closePassed closes what was passed: the descriptors that were secured, and
// what is inheritable among the numbers that the environment speaks of. What
// this process opened itself is not: Go opens all files close-on-exec.
func (e environment) closePassed(secured []Descriptor) {
	for _, d := range secured {
		unix.Close(d.FD)
	}
	for fd := firstFD; fd < firstFD+e.atMost(); fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

func closeFD(fd int) error { return os.NewSyscallError("close", unix.Close(fd)) }
