package orphan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience bounds the ending of processes that do not end, as those that the
	// kernel holds up.
	patience = 5 * time.Second
	// looks is how many looks in a row must find nothing: a process may be
	// forked, and its parent end, while a look is past the one and not yet at the
	// other.
	looks = 2
	// holdLimit is how many handles on killed processes are kept to wait for
	// their end, and holdTime how long they are waited for before the next look.
	holdLimit = 128
	holdTime  = 100 * time.Millisecond
)

// End kills all processes that have marker in their environment, and all below
// these, until none is left, whoever their parent is. They may fork meanwhile.
// It returns at the latest after 5 seconds; the error then names a process that
// is left. The log is told if there was anything to kill.
func End(ctx context.Context, marker string, log *slog.Logger) error {
	e, r := newEnding(), newReader(marker)
	err := e.run(ctx, func() error { return e.endMarked(r) })
	if len(e.killed) > 0 {
		log.Info("killed what a generation had left", "processes", len(e.killed), "pid", e.first.PID, "name", e.first.Name)
	}
	if err != nil {
		return fmt.Errorf("cannot end what a generation left: %w", err)
	}
	return nil
}

// EndChildren kills all processes below this one, but for those that except
// names, if it is not nil, and what is below them, until none is left. It is
// bounded as [End] is. They are reaped by a [Reaper], or by init when this process
// has ended.
func EndChildren(ctx context.Context, except func(pid int) bool) error {
	e := newEnding()
	if err := e.run(ctx, func() error { return e.endBelow(except) }); err != nil {
		return fmt.Errorf("cannot end what is left of the service: %w", err)
	}
	return nil
}

// An ending is under way until nothing is left to be killed.
type ending struct {
	killed  map[int]uint64 // the start times of those that were, by number
	first   Process        // of them
	latest  Process        // of them
	found   int            // in this look
	held    []unix.PollFd  // handles on them
	refused map[int]error  // those that may not be killed
}

func newEnding() *ending {
	return &ending{killed: map[int]uint64{}, refused: map[int]error{}}
}

// run looks until there is nothing more to be found.
func (e *ending) run(ctx context.Context, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for nothing := 0; ; {
		e.found = 0
		err := look()
		e.await()
		if err != nil {
			return err
		}
		if e.found > 0 {
			nothing = 0
		} else if nothing++; nothing == looks {
			return errors.Join(slices.Collect(maps.Values(e.refused))...)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d (%s) is left: %w", e.latest.PID, e.latest.Name, ctx.Err())
		}
	}
}

// endMarked kills those with the marker, and what is below them.
func (e *ending) endMarked(r *reader) error {
	numbers, err := marked(r)
	if err != nil || len(numbers) == 0 { // nearly always
		return err
	}
	// Read before the first is killed, when it is forgotten whose parent it was.
	table, err := readTable()
	if err != nil {
		return err
	}
	// They may have forked since they were listed; what is killed at once when it
	// is found can do so no more.
	if numbers, err = readNumbers("/proc"); err != nil {
		return fmt.Errorf("cannot list processes: %w", err)
	}
	var roots []int
	for _, pid := range numbers {
		if !spared(pid) && r.has(pid) {
			e.kill(pid, func(Process) bool { return r.has(pid) })
			roots = append(roots, pid)
		}
	}
	for _, pid := range roots {
		e.killAll(below(table, pid, spared))
	}
	return nil
}

// endBelow kills what is below this process.
func (e *ending) endBelow(except func(pid int) bool) error {
	table, err := readTable()
	if err != nil {
		return err
	}
	e.killAll(below(table, os.Getpid(), except))
	return nil
}

func (e *ending) killAll(some []Process) {
	for _, p := range some {
		if !p.dead() {
			e.kill(p.PID, func(now Process) bool { return now.Start == p.Start })
		}
	}
}

// kill kills the process if it is the one that is meant. That is asked when there
// is a handle on it: should its number have come to another before the question,
// then the handle is on one that has ended, and nobody is hit.
func (e *ending) kill(pid int, isMeant func(Process) bool) {
	if e.refused[pid] != nil {
		return
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if !errors.Is(err, unix.ESRCH) {
			e.refused[pid] = fmt.Errorf("cannot get hold of process %d: %w", pid, err)
		}
		return
	}
	p, err := readProcess(pid)
	if err != nil || p.dead() || !isMeant(p) {
		_ = unix.Close(handle)
		return
	}
	switch err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); {
	case err == nil:
		e.count(p)
	case !errors.Is(err, unix.ESRCH):
		e.refused[pid] = fmt.Errorf("cannot kill process %d (%s): %w", pid, p.Name, err)
	}
	e.hold(handle)
}

func (e *ending) count(p Process) {
	if len(e.killed) == 0 {
		e.first = p
	}
	e.found++
	e.latest, e.killed[p.PID] = p, p.Start
}

// hold takes a handle, to wait for the end of its process.
func (e *ending) hold(handle int) {
	if len(e.held) < holdLimit {
		e.held = append(e.held, unix.PollFd{Fd: int32(handle), Events: unix.POLLIN})
	} else {
		_ = unix.Close(handle)
	}
}

// await waits a little for the end of what was killed, and gives the handles up.
func (e *ending) await() {
	end := time.Now().Add(holdTime)
	for _, fd := range e.held {
		// The handle is readable when the process has ended, pidfd_open(2). An
		// interrupted wait is a shorter one.
		_, _ = unix.Poll([]unix.PollFd{fd}, int(max(0, time.Until(end)).Milliseconds()))
		_ = unix.Close(int(fd.Fd))
	}
	e.held = e.held[:0]
}
