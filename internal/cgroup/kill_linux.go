package cgroup

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// killRounds bounds how often the processes of a group are listed and killed,
	// where the kernel does not do it itself.
	killRounds = 1000
	// killAtOnce is how many handles on processes are open at the same time then.
	killAtOnce = 128
)

// Kill sends SIGKILL to every process of the group and of those below it, those
// that are being forked included. It does not wait for their end. Where the
// kernel cannot (cgroup.kill came with Linux 5.14), it lists them and kills each,
// until the list names nobody new; a killed process cannot fork any more.
func (g *Group) Kill() error {
	f, err := g.open("cgroup.kill", unix.O_WRONLY)
	switch {
	case errors.Is(err, unix.ENOENT):
		return g.killEach()
	case err == nil:
		_, err = f.WriteString("1")
		err = errors.Join(err, f.Close())
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("cannot kill the processes of %s: %w", g.path, err)
	}
	return nil
}

func (g *Group) killEach() error {
	killed := map[int]bool{}
	for range killRounds {
		fresh, err := g.procs()
		if err != nil {
			return err
		}
		fresh = slices.DeleteFunc(fresh, func(pid int) bool { return killed[pid] })
		if len(fresh) == 0 {
			return nil
		}
		for some := range slices.Chunk(fresh, killAtOnce) {
			if err := g.killThese(some); err != nil {
				return err
			}
		}
		for _, pid := range fresh {
			killed[pid] = true
		}
	}
	return fmt.Errorf("cannot kill the processes of %s: they fork too fast", g.path)
}

// killThese kills processes of the group by handles that are got before they are
// seen to be of the group, so that none that came to such a number is hit.
func (g *Group) killThese(some []int) error {
	handles := make(map[int]int, len(some))
	defer func() {
		for _, handle := range handles {
			_ = unix.Close(handle)
		}
	}()
	for _, pid := range some {
		handle, err := unix.PidfdOpen(pid, 0)
		switch {
		case err == nil:
			handles[pid] = handle
		case !errors.Is(err, unix.ESRCH):
			return fmt.Errorf("cannot get hold of process %d: %w", pid, err)
		}
	}
	still, err := g.procs()
	if err != nil {
		return err
	}
	for pid, handle := range handles {
		if !slices.Contains(still, pid) {
			continue
		}
		if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill process %d: %w", pid, err)
		}
	}
	return nil
}
