package shim

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EndAs ends this process as the program has ended, so that the supervisor sees
// that one's exit. It does not return.
func EndAs(status syscall.WaitStatus) {
	if !status.Signaled() {
		os.Exit(status.ExitStatus())
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // whoever wants the core has the program's
	runtime.LockOSThread()                               // who sends itself a signal has it before the call returns
	restoreDefault(status.Signal())
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), status.Signal())
	os.Exit(128 + int(status.Signal()))
}

// restoreDefault has a signal do what it does to a process that never heard of any
// (SIG_DFL, sigaction(2)). It passes by the Go runtime, which keeps some to itself:
// to it SIGABRT means to exit with status 2.
func restoreDefault(sig syscall.Signal) {
	const maskSize = 8  // of the kernel's sigset_t, in bytes
	var action [32]byte // struct kernel_sigaction: all zero is SIG_DFL, no flags, no mask
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0)
}
