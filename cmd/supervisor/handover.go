package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

const (
	// stateEnv is the variable in which a supervisor that executes another
	// binary in its place says which descriptor holds its state.
	stateEnv = "SUPERVISOR_STATE"
	// checkTimeout is how long a binary may take to show that it can go on from
	// the state.
	checkTimeout = 10 * time.Second
)

// left is what the next supervisor has to know.
func (h *host) left(st upgrade.State) (handover.State, error) {
	boot, err := handover.ThisBoot()
	return handover.State{
		Writer: ownVersion().Version, Boot: boot, Written: upgrade.BootTime(), Supervisor: st, Listeners: h.listeners.left(), Made: h.dir.Made(),
	}, err
}

// persist writes down what the next supervisor has to know if this one is
// killed.
func (h *host) persist(st upgrade.State) {
	state, err := h.left(st)
	if err == nil {
		state.Metrics, err = h.stats.Save()
	}
	if err == nil {
		err = handover.Save(h.dir.State(), state)
	}
	if err != nil && !h.unsaved {
		h.log.Error("cannot write down what a new supervisor would have to know; if this one is killed, its generations cannot be adopted", "error", err)
	}
	h.unsaved = err != nil
}

// reexec has another binary take the place of this one: same process, same
// descriptors, same children. It returns only if that did not happen, and then
// all goes on.
func (h *host) reexec(ctx context.Context, binary string) error {
	path, err := successor(binary)
	if err != nil {
		return err
	}
	if err := h.rehearse(ctx, path); err != nil {
		return err
	}
	carried, err := h.server.Carry(ctx)
	if err != nil {
		return err
	}
	err = h.supervisor.HandOver(ctx, func(st upgrade.State) error { return h.execute(path, st, carried) })
	return errors.Join(err, h.server.Uncarry(carried))
}

// successor is the file to execute: by default the one that this program was
// started from, as it is now.
func successor(binary string) (string, error) {
	if binary == "" {
		binary = os.Args[0]
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("cannot execute %s: %w", binary, err)
	}
	return path, nil
}

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
	if state.Metrics, err = h.stats.Save(); err != nil {
		return err
	}
	memfd, err := handover.Memfd(state)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(memfd), "state")
	defer file.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, append([]string{"check-state", "--"}, os.Args[1:]...)...)
	cmd.Env = append(upgrade.CleanEnv(os.Environ()), stateEnv+"=3")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return fmt.Errorf("%s did not show within %v that it can go on from here", path, checkTimeout)
	case err != nil && said.Len() > 0:
		return fmt.Errorf("%s cannot go on from here: %s", path, lastLine(said.String()))
	case err != nil:
		return fmt.Errorf("%s cannot go on from here: %w", path, err)
	}
	var checked checkedState
	if err := json.Unmarshal(out.Bytes(), &checked); err != nil || checked.State == 0 {
		return fmt.Errorf("%s does not say that it can go on from here; is it a supervisor?", path)
	}
	return nil
}

// checkedState is what the command check-state prints: that it can go on.
type checkedState struct {
	control.Version
	// State is the version of the state that it writes itself.
	State int `json:"state"`
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// execute does it, with everything at rest.
func (h *host) execute(path string, st upgrade.State, carried []control.Carried) error {
	state, err := h.left(st)
	if err != nil {
		return err
	}
	var own []int // duplicates that are closed if it fails
	defer func() {
		for _, fd := range own {
			_ = unix.Close(fd)
		}
	}()
	take := func(into *int, fd int, err error) error {
		if err == nil {
			*into, own = fd, append(own, fd)
		}
		return err
	}
	lock, err := h.dir.Lock()
	err = take(&state.Lock, lock, err)
	if err == nil {
		fd, dup := descriptorOf(h.control)
		err = take(&state.Control, fd, dup)
	}
	if err == nil && h.scrape != nil {
		fd, dup := descriptorOf(h.scrape)
		err = take(&state.Scrape, fd, dup)
	}
	if err == nil {
		state.Streams, err = streamsOf(carried)
	}
	if err == nil {
		state.Metrics, err = h.stats.Save()
	}
	var memfd int
	if err == nil {
		fd, failed := handover.Memfd(state)
		err = take(&memfd, fd, failed)
	}
	if err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	h.log.Info("executes another supervisor in its place", "binary", path)
	env := append(os.Environ(), stateEnv+"="+strconv.Itoa(memfd))
	return executeWith(path, append([]string{path}, os.Args[1:]...), env, append(state.Descriptors(), memfd))
}

// executeWith replaces this program and has the next one inherit the
// descriptors. No program is started meanwhile that would inherit them too.
func executeWith(path string, args, env []string, fds []int) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("cannot hand over descriptor %d: %w", fd, err)
		}
		defer unix.CloseOnExec(fd)
	}
	err := syscall.Exec(path, args, env)
	return fmt.Errorf("cannot execute %s: %w", path, err)
}

// streamsOf describes the clients that wait, for the next program.
func streamsOf(carried []control.Carried) ([]handover.Stream, error) {
	streams := make([]handover.Stream, len(carried))
	for i, c := range carried {
		details, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		streams[i] = handover.Stream{FD: c.Descriptor, Kind: handover.StreamKind(c.Kind), Request: c.Request, Details: details}
	}
	return streams, nil
}

// carriedBy reads what streamsOf wrote. What cannot be read is closed.
func carriedBy(streams []handover.Stream) []control.Carried {
	var all []control.Carried
	for _, s := range streams {
		var c control.Carried
		unix.CloseOnExec(s.FD)
		if json.Unmarshal(s.Details, &c) != nil {
			_ = unix.Close(s.FD)
			continue
		}
		c.Descriptor = s.FD
		all = append(all, c)
	}
	return all
}

// descriptorOf gives a close-on-exec duplicate of a listener's descriptor.
func descriptorOf(l net.Listener) (fd int, err error) {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(failed, err)
}

// listenerOf takes the descriptor of a listener; the file of a Unix socket is
// removed when it is closed.
func listenerOf(fd int) (net.Listener, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use descriptor %d as a listener: %w", fd, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true)
	}
	return l, nil
}
