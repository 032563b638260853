package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

const (
	// checkTimeout is how long a binary may take to show that it can go on from
	// the state.
	checkTimeout = 10 * time.Second
	// mostSaid is how much it may say, in bytes. Of its complaints the end counts.
	mostSaid = 64 << 10
)

// errRehearsed ends a handover that was only to see the state.
var errRehearsed = errors.New("nothing is handed over")

// rehearse runs the binary as a check of this very state. What it is given are
// numbers; it inherits no descriptor but that of the state.
func (h *host) rehearse(ctx context.Context, path string) error {
	var state handover.State
	err := h.supervisor.HandOver(ctx, func(st upgrade.State) (err error) {
		if state, err = h.left(st); err != nil {
			return err
		}
		return errRehearsed
	})
	if !errors.Is(err, errRehearsed) {
		return err
	}
	if err := h.count(&state); err != nil {
		return err
	}
	memfd, err := handover.Memfd(state)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(memfd), "state")
	defer file.Close()
	return rehearsal{path: path, args: os.Args[1:], env: os.Environ(), state: file, limit: checkTimeout}.play(ctx)
}

// A rehearsal tries a binary out.
type rehearsal struct {
	path  string
	args  []string // of the supervisor
	env   []string // likewise
	state *os.File // borrowed
	limit time.Duration
}

// play says why the binary cannot take the supervisor's place. Nothing is left
// of it, but for processes that have left its group.
func (r rehearsal) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	out, said := &excerpt{}, &excerpt{end: true}
	cmd := exec.CommandContext(ctx, r.path, append([]string{"check-state", "--"}, r.args...)...)
	cmd.Env = append(upgrade.CleanEnv(r.env), stateEnv+"=3")
	cmd.ExtraFiles = []*os.File{r.state}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := runAlone(cmd)
	switch {
	case cmd.Process == nil:
		return cannotExecute(r.path, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s did not show within %v that it can go on from here", r.path, r.limit)
	case out.over:
		return r.isNone()
	case err != nil && said.words() != "":
		return fmt.Errorf("%s cannot go on from here: %s", r.path, said.words())
	case err != nil:
		return fmt.Errorf("%s cannot go on from here: %w", r.path, err)
	}
	var checked checkedState
	if err := json.Unmarshal(out.text, &checked); err != nil || checked.State == 0 {
		return r.isNone()
	}
	return nil
}

// runAlone runs cmd, which leads a group of its own, and ends what is left of that:
// before it is reaped, or the group could be another's.
func runAlone(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // itself at least is there, and has ended
	return cmd.Wait()
}

func (r rehearsal) isNone() error {
	return fmt.Errorf("%s does not say that it can go on from here; is it a supervisor?", r.path)
}

// checkedState is what the command check-state prints: that it can go on.
type checkedState struct {
	control.Version
	// State is the version of the state that it writes itself.
	State int `json:"state"`
}

// cannotExecute words why a file cannot be executed.
func cannotExecute(path string, why error) error {
	var lookup *exec.Error
	if errors.As(why, &lookup) {
		why = lookup.Err
	}
	var file *fs.PathError
	if errors.As(why, &file) { // which would be named twice
		why = file.Err
	}
	switch {
	case errors.Is(why, syscall.ETXTBSY):
		why = fmt.Errorf("%w: somebody is writing to it; try again, and put it there by a rename", why)
	case errors.Is(why, syscall.ENOEXEC):
		why = fmt.Errorf("%w: it is no program for this machine", why)
	}
	return fmt.Errorf("cannot execute %s: %w", path, why)
}

// errTooMuch tells a program that nobody listens any more.
var errTooMuch = errors.New("it says too much")

// excerpt keeps the beginning of what is written to it, and takes no more; or it
// keeps the end.
type excerpt struct {
	end  bool
	text []byte
	over bool // something was left out
}

func (e *excerpt) Write(text []byte) (int, error) {
	e.text = append(e.text, text...)
	surplus := len(e.text) - mostSaid
	switch {
	case surplus <= 0:
		return len(text), nil
	case e.end:
		e.text, e.over = append(e.text[:0], e.text[surplus:]...), true
		return len(text), nil
	}
	e.text, e.over = e.text[:mostSaid], true
	return 0, errTooMuch
}

// words are the last line that says what is wrong: a program that crashes says
// that before it tells where.
func (e *excerpt) words() string {
	lines := strings.Split(strings.TrimSpace(string(e.text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if what, ok := strings.CutPrefix(lines[i], "error: "); ok {
			return what
		}
		if strings.HasPrefix(lines[i], "panic: ") || strings.HasPrefix(lines[i], "fatal error: ") {
			return lines[i]
		}
	}
	return lines[len(lines)-1]
}
