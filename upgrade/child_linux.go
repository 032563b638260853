package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// reapGrace is how long the exit status of an adopted process is waited
	// for: its parent has to reap it first.
	reapGrace = 200 * time.Millisecond
	// pidfdGetInfo is PIDFD_GET_INFO of <linux/pidfd.h> for a pidfd_info of 72
	// bytes, and pidfdInfoExit PIDFD_INFO_EXIT, since Linux 6.15.
	pidfdGetInfo  = 0xC048FF0B
	pidfdInfoExit = 1 << 3
)

// A child is the operating system's process of a generation: one that this
// process may wait for, or one that it has adopted.
type child struct {
	pid   int
	ticks uint64 // when it was started; with pid its identity
	pidfd int    // of an adopted one, owned; 0 if it is ours to wait for (Go keeps 0 to 2 open)
}

// errGone tells of a process that is not there any more.
var errGone = errors.New("the process has ended")

// errUnproven tells of a process that may be the one that is meant, or another
// that has got its number.
var errUnproven = errors.New("nobody knows when the process was started, so that it may be another")

// findChild finds the process that was pid and started at ticks; 0 if that is not
// known. A process that this one may wait for stays there until it is reaped;
// another is held by a pidfd, so that its number cannot come to mean something
// else. The error is errGone if it has ended, errUnproven if ticks is 0 and it is
// not ours; any other says nothing of whether it lives.
func findChild(pid int, ticks uint64) (child, error) {
	if pid <= 0 { // it was never started
		return child{}, errGone
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // the latter: it is a thread's by now
		return child{}, errGone
	case err != nil:
		return child{}, fmt.Errorf("cannot open process %d: %w", pid, err)
	}
	c := child{pid: pid, ticks: ticks, pidfd: pidfd}
	parent, now, err := readStat(pid)
	switch {
	case err == nil && now != ticks && ticks != 0:
		err = errGone
	case err == nil && parent == os.Getpid():
		c.close()
		return child{pid: pid, ticks: now}, nil
	case c.over(0): // a zombie has a stat too, and where no /proc is there is never one
		err = errGone
	case err == nil && ticks == 0:
		err = errUnproven
	}
	if err != nil {
		c.close()
		return child{}, err
	}
	return c, nil
}

// readStat reads the parent and the start of a process (proc_pid_stat(5)).
func readStat(pid int) (parent int, ticks uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, syscall.ESRCH) {
		err = os.ErrNotExist
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot look at process %d: %w", pid, err)
	}
	return parseStat(text)
}

// parseStat finds fields 4 and 22. The second, the name in parentheses, may hold
// anything.
func parseStat(text []byte) (parent int, ticks uint64, err error) {
	_, rest, ok := bytes.Cut(text, []byte("("))
	if i := bytes.LastIndexByte(rest, ')'); ok && i >= 0 {
		fields := bytes.Fields(rest[i+1:])
		if len(fields) >= 20 {
			parent, err = strconv.Atoi(string(fields[1]))
			if err == nil {
				ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
			}
			if err == nil {
				return parent, ticks, nil
			}
		}
	}
	return 0, 0, errors.New("cannot understand the stat of a process")
}

// await returns when the process has ended. One that is ours is left to be
// reaped, so that its pid stays valid (waitid(2), WNOWAIT).
func (c child) await() {
	if c.pidfd > 0 {
		c.over(-1)
		return
	}
	for {
		err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// over waits for the end of an adopted process: timeout in milliseconds, -1 for
// as long as it takes (pidfd_open(2): readable when it has ended).
func (c child) over(timeout int) bool {
	poll := []unix.PollFd{{Fd: int32(c.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, timeout)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// An exit is how a process ended. Its status is not always known of an adopted
// one: kernels before 6.15 tell it to the parent alone.
type exit struct {
	known  bool
	status syscall.WaitStatus
}

func (e exit) clean() bool { return e.known && e.status.Exited() && e.status.ExitStatus() == 0 }

func (e exit) String() string {
	switch s := e.status; {
	case !e.known:
		return "ended (its exit status is known only to the process that became its parent)"
	case s.Signaled() && s.CoreDump():
		return fmt.Sprintf("was killed by signal %d (%v) and dumped core", s.Signal(), s.Signal())
	case s.Signaled():
		return fmt.Sprintf("was killed by signal %d (%v)", s.Signal(), s.Signal())
	default:
		return fmt.Sprintf("exited with status %d", s.ExitStatus())
	}
}

// reap takes the exit of a process that has ended.
func (c child) reap() exit {
	if c.pidfd > 0 {
		defer c.close()
		return c.adoptedExit()
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.pid, &status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return exit{known: err == nil, status: status}
		}
	}
}

// adoptedExit asks the kernel, which knows once the parent has reaped it, and
// tells whoever opened a pidfd before that (fs/pidfs.c).
func (c child) adoptedExit() exit {
	late := time.Now().Add(reapGrace)
	for reaped := false; ; {
		info := unix.PidfdInfo{Mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.Mask&pidfdInfoExit != 0 {
			return exit{known: true, status: syscall.WaitStatus(info.Exit_code)}
		}
		if errno == unix.ENOTTY || errno == unix.EINVAL { // before Linux 6.13 it never tells
			return exit{}
		}
		left := time.Until(late)
		if reaped || left <= 0 {
			return exit{}
		}
		poll := []unix.PollFd{{Fd: int32(c.pidfd)}} // asks for POLLHUP alone: it has been reaped
		_, _ = unix.Poll(poll, int(left.Milliseconds())+1)
		reaped = poll[0].Revents&unix.POLLHUP != 0
	}
}

// signal sends sig to the process, or to its group, which it leads. The caller
// knows that it has not been reaped by this process. An adopted one may have been
// reaped by its parent: its number can then be that of a stranger's group, but
// its pidfd cannot (pidfd_send_signal(2), since Linux 6.9).
func (c child) signal(sig syscall.Signal, group bool) error {
	switch {
	case group && c.pidfd > 0:
		err := unix.PidfdSendSignal(c.pidfd, sig, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if errors.Is(err, unix.EINVAL) {
			return syscall.Kill(-c.pid, sig)
		}
		return err
	case group:
		return syscall.Kill(-c.pid, sig)
	case c.pidfd > 0:
		return unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
	}
	return syscall.Kill(c.pid, sig)
}

func (c child) close() {
	if c.pidfd > 0 {
		closeFD(c.pidfd)
	}
}
