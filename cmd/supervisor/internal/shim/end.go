package shim

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// EndAs ends this process as the program has ended, so that the supervisor sees
// that one's exit. It does not return.
func EndAs(status syscall.WaitStatus) {
	if !status.Signaled() {
		os.Exit(status.ExitStatus())
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // whoever wants the core has the program's
	signal.Reset(status.Signal())
	_ = syscall.Kill(os.Getpid(), status.Signal())
	os.Exit(128 + int(status.Signal())) // the Go runtime keeps some signals to itself
}
