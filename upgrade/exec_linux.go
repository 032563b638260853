package upgrade

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// execute starts cmd unless it has been called off meanwhile. It does not hold
// the lock over the start, which may take as long as a file system likes.
func (p *process) execute(cmd *exec.Cmd) error {
	p.mu.Lock()
	off := p.signal != 0
	p.mu.Unlock()
	if off {
		return errors.New("it was called off before it ran")
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive, p.snapshot.PID = true, cmd.Process.Pid
	if p.signal != 0 {
		_ = syscall.Kill(-cmd.Process.Pid, p.signal) // it cannot have done anything yet
	}
	return nil
}

// awaitExit returns when pid can be reaped, and leaves the reaping for later,
// so that the pid stays valid (waitid(2), WNOWAIT).
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// reap ends what is left of the process group, then reaps its leader.
func (p *process) reap(cmd *exec.Cmd) *os.ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody else is left
	_ = cmd.Wait()                                      // the state tells more than its error
	p.alive = false
	return cmd.ProcessState
}

func describeExit(s *os.ProcessState) string {
	ws, ok := s.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled() && ws.CoreDump():
		return fmt.Sprintf("was killed by signal %d (%v) and dumped core", ws.Signal(), ws.Signal())
	case ok && ws.Signaled():
		return fmt.Sprintf("was killed by signal %d (%v)", ws.Signal(), ws.Signal())
	default:
		return fmt.Sprintf("exited with status %d", s.ExitCode())
	}
}

func (p *process) Terminate() { p.kill(syscall.SIGTERM, 1) }
func (p *process) Kill()      { p.kill(syscall.SIGKILL, -1) }

// kill signals the process (sign 1) or its group (sign -1).
func (p *process) kill(sig syscall.Signal, sign int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive {
		p.signal = sig
		return
	}
	// ESRCH cannot be: the process is not reaped while alive is set.
	if err := syscall.Kill(sign*p.snapshot.PID, sig); err != nil {
		p.log.Error("cannot signal", "signal", sig, "error", err)
	}
}
