package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockWait is how long an opener waits for another one of the same
	// directory. Each holds the lock for microseconds.
	lockWait = 10 * time.Second
	// lockRetry is the pause between two attempts.
	lockRetry = 2 * time.Millisecond
)

// A FileID identifies a file while it, or a socket bound to it, is open.
type FileID struct{ Dev, Ino uint64 }

// Identify returns what identifies the file of the Unix socket at path. Anything
// else there is an error.
func Identify(path string) (FileID, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return FileID{}, fmt.Errorf("cannot look at a socket: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Type() != fs.ModeSocket {
		return FileID{}, fmt.Errorf("%s is not a socket but a %s", path, describe(info.Mode()))
	}
	return identify(stat), nil
}

// openPath opens a Unix socket that has a file. Everything between the look at
// the path and the finished socket happens under a lock of its directory, so
// that of any number of openers exactly one wins.
func openPath(ctx context.Context, spec Spec) (*Socket, error) {
	unlock, err := lockDirectory(ctx, spec.Address)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clearPath(spec.Address); err != nil {
		return nil, err
	}
	s, err := bind(ctx, spec)
	if err == nil {
		if s.file, err = finishFile(spec.Address, spec.Mode); err != nil {
			unix.Close(s.FD)
		}
	}
	if err != nil {
		_ = clearPath(spec.Address) // the file that a half-opened socket may have left
		return nil, err
	}
	return s, nil
}

// lockDirectory takes an exclusive flock(2) on the directory of path. The lock
// ends with the descriptor, so that a killed holder leaves none behind.
func lockDirectory(ctx context.Context, path string) (unlock func(), err error) {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open directory %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			unix.Close(fd)
			return nil, fmt.Errorf("cannot lock directory %s: another process holds its lock, see /proc/locks: %w", dir, ctx.Err())
		case <-time.After(lockRetry):
		}
	}
}

// clearPath removes the file of a socket that nobody has open. The caller
// holds the lock of the directory.
func clearPath(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket but a %s, and is left alone; choose another path or move it away", path, describe(info.Mode()))
	}
	live, err := isLive(path)
	if err != nil {
		return fmt.Errorf("cannot tell whether a process uses the socket %s: %w; remove it if none does", path, err)
	}
	if live {
		return ErrInUse
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove the socket file that a dead process left: %w", err)
	}
	return nil
}

// isLive reports whether any process has the socket at path open.
//
// The probe is a datagram socket. The kernel looks for the socket behind the
// file first (ECONNREFUSED when there is none) and compares the types after
// that (EPROTOTYPE), see unix_find_bsd in net/unix/af_unix.c. So a stream
// listener is recognised without giving it a connection, and also one that is
// bound but does not listen yet.
func isLive(path string) (bool, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); {
	case err == nil, errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EPERM):
		return true, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	default:
		return false, err
	}
}

// removeFile removes the socket's file if it is still the one that Open made.
func (s *Socket) removeFile() error {
	unlock, err := lockDirectory(context.Background(), s.Address)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	info, err := os.Lstat(s.Address)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || identify(stat) != s.file {
		return nil
	}
	return os.Remove(s.Address)
}

func identify(stat *syscall.Stat_t) FileID {
	return FileID{Dev: uint64(stat.Dev), Ino: uint64(stat.Ino)}
}

// describe names a type of file for a message.
func describe(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "regular file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	default:
		return "device"
	}
}
