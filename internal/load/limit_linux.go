package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptors are for all that is not a connection.
const spareDescriptors = 64

// raiseLimit makes sure that this process may have so many descriptors for
// connections. Go has raised the soft limit to the hard one already (package os);
// the hard one may be raised by those with the capability for it
// (getrlimit(2), RLIMIT_NOFILE).
func raiseLimit(connections uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	need := connections + spareDescriptors
	if limit.Cur >= need {
		return nil
	}
	raised := unix.Rlimit{Cur: need, Max: max(limit.Max, need)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("%d connections at a time need %d open files, and this process may have %d: raise `ulimit -Hn`, or ask for fewer: %w",
			connections, need, limit.Max, err)
	}
	return nil
}
