package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"unsafe"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// stateEnv is the variable in which a supervisor that executes another binary in
// its place says which descriptor holds its state.
const stateEnv = "SUPERVISOR_STATE"

// left is what the next supervisor has to know.
func (h *host) left(st upgrade.State) (handover.State, error) {
	boot, err := handover.ThisBoot()
	return handover.State{
		Writer: ownVersion().Version, Boot: boot, Written: upgrade.BootTime(), Supervisor: st, Listeners: h.listeners.left(),
		RunDir: h.dir.Path, Made: h.dir.Made(),
	}, err
}

// persist writes down what the next supervisor has to know if this one is
// killed.
func (h *host) persist(st upgrade.State) error {
	state, err := h.left(st)
	if err == nil {
		state.Metrics, err = h.stats.Save()
	}
	if err != nil {
		h.log.Error("cannot write down what a new supervisor would have to know", "error", err)
		return err
	}
	return h.record.write(state)
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
	came := catchSignals() // besides h.signals, where they are heeded
	defer signal.Stop(came)
	carried, err := h.server.Carry(ctx)
	if err != nil {
		return err
	}
	err = h.supervisor.HandOver(ctx, func(st upgrade.State) error {
		if err := goesFirst(came); err != nil {
			return err
		}
		return h.execute(path, st, carried, came)
	})
	return errors.Join(err, h.server.Uncarry(carried))
}

// goesFirst says that a signal has come, which ends with this program unless it is
// heeded.
func goesFirst(came <-chan os.Signal) error {
	if sig := oneOf(came); sig != nil {
		return tooLate(sig)
	}
	return nil
}

func tooLate(sig os.Signal) error {
	return fmt.Errorf("signal %d (%v) came at the same moment, and goes first", sig, sig)
}

// lastCaught ends the catching of signals and is goesFirst of those that were
// caught until then: one that was caught and would be heeded by nobody is lost
// with this program. What may have reached came alone is passed on to heeded,
// where twice in a moment is once; HUP, which is ignored by now, has reached both.
func lastCaught(heeded, came chan os.Signal) (first error) {
	signal.Stop(heeded)
	signal.Stop(came) // it has all of them now
	for sig := oneOf(came); sig != nil; sig = oneOf(came) {
		if first == nil {
			first = tooLate(sig)
		}
		if sig != syscall.SIGHUP {
			heeded <- sig
		}
	}
	return first
}

// successor is the file to execute: by default the one that this program was
// started from, as it is now.
func successor(binary string) (string, error) {
	if binary == "" {
		binary = os.Args[0]
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", cannotExecute(binary, err)
	}
	return path, nil
}

// count adds what was counted to the state.
func (h *host) count(state *handover.State) (err error) {
	if state.Metrics, err = h.stats.Save(); err == nil {
		state.Queues, err = json.Marshal(h.queues.totals())
	}
	return err
}

// execute does it, with everything at rest.
func (h *host) execute(path string, st upgrade.State, carried []control.Carried, came chan os.Signal) error {
	if why := h.announcer.rest(); why != "" {
		return &upgrade.RefusedError{Reason: why}
	}
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
		err = h.count(&state)
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
	return h.executeWith(path, append([]string{path}, os.Args[1:]...), env, append(state.Descriptors(), memfd), came)
}

// executeWith replaces this program and has the next one inherit the
// descriptors. No program is started meanwhile that would inherit them too.
//
// Until the next one catches signals, some milliseconds, the kernel does with
// them what it does by default (execve(2)). HUP must not end a service that
// somebody wants to upgrade, so it is ignored, which is inherited until it is
// caught: one that comes in these milliseconds is lost. TERM, INT and QUIT end
// the supervisor then, as whoever sends them wants; the generations wait for the
// next one, or are ended by the command sweep. To have the kernel keep signals for
// later they would have to be blocked; then every program that is started by
// the next supervisor would begin with them blocked, as the Go runtime passes
// on the mask that it was started with.
func (h *host) executeWith(path string, args, env []string, fds []int, came chan os.Signal) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("cannot hand over descriptor %d: %w", fd, err)
		}
		defer unix.CloseOnExec(fd)
	}
	var limit unix.Rlimit
	descriptorLimit(nil, &limit)
	signal.Ignore(syscall.SIGHUP)
	defer signal.Notify(h.signals, caught()...)
	if err := lastCaught(h.signals, came); err != nil { // it took some time to come here
		return err
	}
	err := syscall.Exec(path, args, env)
	descriptorLimit(&limit, nil) // Exec lowers it to what this program was started with
	return cannotExecute(path, err)
}

// descriptorLimit sets or gets RLIMIT_NOFILE by prlimit(2), which is not known to
// fail for the own process. Package unix would have programs that are started
// inherit a limit that was set.
func descriptorLimit(set, get *unix.Rlimit) {
	_, _, _ = unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
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

// listenerOf takes the descriptor of a listener.
func listenerOf(fd int) (net.Listener, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use descriptor %d as a listener: %w", fd, err)
	}
	return l, nil
}
