package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tailLines and tailBytes are how much of a command's output is kept.
	tailLines = 5
	tailBytes = 4096
	// outputGrace is how long the output is awaited from a process that left
	// the command's process group and holds its standard output.
	outputGrace = 100 * time.Millisecond
)

// Command is a Probe that runs a program. All is well if it exits with
// status 0.
type Command struct {
	// Args are the program, a path or a name to be looked up in PATH, and its
	// arguments. No shell is involved.
	Args []string
	// Dir is the working directory. Default: the caller's own.
	Dir string
	// Env is the whole environment. Default: the caller's own.
	Env []string
	// Timeout bounds the run. Default DefaultTimeout.
	Timeout time.Duration
}

// Check runs the program once, in a process group of its own that is killed
// as a whole before Check returns, at the timeout or when the program has
// exited. The reason ends with the last lines of output.
func (c Command) Check(ctx context.Context) error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return errors.New("probe command: no program given")
	}
	bound, cancel, timeout := bounded(ctx, c.Timeout)
	defer cancel()
	out := &tail{}
	err := c.run(bound, out)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && bound.Err() != nil {
		err = noAnswer(bound.Err(), timeout)
	}
	if text := out.String(); text != "" {
		return fmt.Errorf("probe command %s: %w: %s", c.Args[0], err, text)
	}
	return fmt.Errorf("probe command %s: %w", c.Args[0], err)
}

func (c Command) run(ctx context.Context, out *tail) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
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
	// The leader is not reaped yet, so the number still means its group.
	killGroup(cmd.Process)
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it exited with status 0; somebody else holds its output
	}
	return errors.Join(cut, err)
}

// awaitExit returns when p has ended, and leaves it to be waited for.
// waitid(2), WNOWAIT.
func awaitExit(p *os.Process) {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// killGroup kills every process of the group that p leads. A group that has
// nobody left to kill is no error.
func killGroup(p *os.Process) {
	_ = unix.Kill(-p.Pid, unix.SIGKILL)
}

// tail is an io.Writer that keeps the last lines of what is written to it. It
// may be read while it is written to.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write keeps the end of p.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - tailBytes; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

// String returns the last lines, shortened and joined by " | ".
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.buf)) {
		if line = shorten(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], " | ")
}
