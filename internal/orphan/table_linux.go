package orphan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Descendants returns the processes below pid, zombies included, parents before
// their children. What a process of them started while this looks may be missing.
func Descendants(pid int) ([]Process, error) {
	table, err := readTable()
	return below(table, pid, nil), err
}

// readTable reads what processes there are.
func readTable() ([]Process, error) {
	numbers, err := readNumbers("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	return readAll(context.Background(), numbers)
}

// readAll reads what there is to tell of processes, but for those that have ended.
func readAll(ctx context.Context, numbers []int) ([]Process, error) {
	table := make([]Process, 0, len(numbers))
	for i, pid := range numbers {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("cannot look at all processes: %w", context.Cause(ctx))
		}
		p, err := readProcess(pid)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		table = append(table, p)
	}
	return table, nil
}

// readNumbers lists the entries of a folder that are numbers.
func readNumbers(dir string) ([]int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	var all []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			all = append(all, n)
		}
	}
	return all, err
}

// readProcess tells what there is to tell of a process. isGone says whether its
// error means that there is no such process.
func readProcess(pid int) (Process, error) {
	var buf [1024]byte // the longest that there are have about 400 bytes
	text, err := readProc(pid, "stat", buf[:])
	if err != nil {
		return Process{}, err
	}
	p, err := parseStat(text)
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

// readProc reads a file of a process into buf, as far as it is long enough. It
// makes no use of package os, which would wait for a file of /proc by epoll(7).
func readProc(pid int, name string, buf []byte) ([]byte, error) {
	file := filepath.Join("/proc", strconv.Itoa(pid), name)
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	n := 0
	for n < len(buf) {
		more, err := unix.Read(fd, buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: file, Err: err}
		case more == 0:
			return buf[:n], nil
		}
		n += more
	}
	return buf, io.ErrShortBuffer
}

// isGone reports whether an error of readProc means that the process has ended.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
