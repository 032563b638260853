package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGrace is how long the output is awaited from a process that left the
// command's process group and holds its standard output.
const outputGrace = 100 * time.Millisecond

// A Command is one to be run, without a shell.
type Command struct {
	// Words are the program, a path or a name to be looked up in PATH, and its
	// arguments.
	Words []string
	// Dir is the working directory; empty means the supervisor's own. Env is the
	// whole environment.
	Dir string
	Env []string
	// Stdin is what it may read.
	Stdin []byte
	// Limit is how long it may take.
	Limit time.Duration
	// Tell takes its output, line by line, from one goroutine at a time.
	Tell func(line string)
}

// Run runs c in a process group of its own, which is killed as a whole when c has
// exited, at its limit, when ctx is done, and as far as its leader goes when the
// supervisor is killed (PR_SET_PDEATHSIG, prctl(2)). The error says how it ended,
// and what it said last.
func (c Command) Run(ctx context.Context) error {
	bound, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("did not end within %v", c.Limit))
	defer cancel()
	out := &output{tell: c.Tell}
	done := make(chan error, 1)
	go func() { // joined below; the thread must live as long as the command, whose parent it is to the kernel
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- c.run(bound, out)
	}()
	err := <-done
	last := out.end()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = errors.New("was called off")
	case bound.Err() != nil:
		err = context.Cause(bound)
	}
	if last != "" {
		return fmt.Errorf("%s: %w: %s", c.Words[0], err, last)
	}
	return fmt.Errorf("%s: %w", c.Words[0], err)
}

// run is Run on a thread of its own.
func (c Command) run(ctx context.Context, out *output) error {
	cmd := exec.Command(c.Words[0], c.Words[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), out, out
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return bare(err)
	}
	exited := make(chan struct{})
	go func() { // joined below
		defer close(exited)
		awaitExit(cmd.Process)
	}()
	cut := error(nil)
	select {
	case <-exited:
	case <-ctx.Done():
		cut = ctx.Err()
		killGroup(cmd.Process)
		<-exited
	}
	killGroup(cmd.Process) // the leader is not reaped yet, so the number still means its group
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case cut != nil:
		return cut
	case errors.As(err, &exit):
		return inWords(exit)
	}
	return nil // it exited with status 0; that it did not read, or that somebody holds its output, does not matter
}

// inWords is how a command failed.
func inWords(exit *exec.ExitError) error {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("was killed by signal %d (%v)", status.Signal(), status.Signal())
	}
	return fmt.Errorf("exited with status %d", exit.ExitCode())
}

// bare is err without the name of the program, which is said already.
func bare(err error) error {
	var path *os.PathError
	var lookup *exec.Error
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("cannot be run: %w", path.Err)
	case errors.As(err, &lookup):
		return fmt.Errorf("cannot be run: %w", lookup.Err)
	}
	return fmt.Errorf("cannot be run: %w", err)
}

// awaitExit returns when p has ended, and leaves it to be waited for: waitid(2),
// WNOWAIT.
func awaitExit(p *os.Process) {
	for unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// killGroup kills every process of the group that p leads. A group that has nobody
// left to kill is no error.
func killGroup(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGKILL) }
