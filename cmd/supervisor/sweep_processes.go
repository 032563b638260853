package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"example.com/supervisor/internal/cgroup"
	orphans "example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// endAll kills the processes of all generations: the first of each and its
// group, what carries its mark, and what is in its cgroup.
func endAll(ctx context.Context, left []upgrade.ProcessState, log *slog.Logger) error {
	var errs []error
	for _, p := range left {
		if err := endGroup(p); err != nil {
			errs = append(errs, fmt.Errorf("cannot end generation %d (pid %d): %w", p.Generation, p.PID, err))
		}
		if p.Token == "" {
			continue // nothing is known by no mark
		}
		if err := orphans.End(ctx, orphans.Marker(p.Generation, p.Token), log); err != nil {
			errs = append(errs, fmt.Errorf("cannot end what generation %d left: %w", p.Generation, err))
		}
	}
	return errors.Join(append(errs, endCgroups(ctx))...)
}

// endGroup kills the process and its group, if it is still that process, which is
// asked when the pidfd is open: should the number have come to another after
// that, the pidfd does not follow (pidfd_send_signal(2); for a group since Linux
// 6.9, before it a moment is left).
func endGroup(p upgrade.ProcessState) error {
	if p.PID <= 1 || p.StartTicks == 0 {
		return nil // it was never started, or nobody knows when
	}
	pidfd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if ticks, err := startTicks(p.PID); err != nil || ticks != p.StartTicks {
		return nil // it is gone, and the number is another's or nobody's
	}
	if group, err := unix.Getpgid(p.PID); err == nil && group == p.PID {
		err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if errors.Is(err, unix.EINVAL) {
			_ = unix.Kill(-group, unix.SIGKILL)
		} // what is left of it is ended below
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// startTicks is when a process was started, in clock ticks since the boot: field
// 22 of proc_pid_stat(5), counted from behind the name, which may hold anything.
func startTicks(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	ticks, err := parseTicks(text)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return ticks, nil
}

func parseTicks(stat []byte) (uint64, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("it has only %d fields after the name", len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// endCgroups kills all that is in the cgroups of generations and removes them.
func endCgroups(ctx context.Context) error {
	tree, err := cgroup.Find()
	if errors.Is(err, cgroup.ErrNotDelegated) {
		return nil
	} else if err != nil {
		return err
	}
	defer tree.Close()
	left, err := tree.Left()
	errs := []error{err}
	for _, generation := range left {
		group, err := tree.Group(generation)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, group.Kill(), group.Remove(ctx))
	}
	return errors.Join(errs...)
}
