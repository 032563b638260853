package listen

import (
	"fmt"
	"io/fs"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// restrictMode sets the mode of a socket that is not bound yet. bind(2) makes
// the file with these permissions less the umask (unix_bind_bsd in
// net/unix/af_unix.c), so at no time is the file more open than asked for.
func restrictMode(fd int, mode fs.FileMode) error {
	if mode == 0 {
		return nil
	}
	return unix.Fchmod(fd, uint32(mode))
}

// finishFile gives the socket's file exactly the mode asked for, where one
// was, and returns its identity. It works on a descriptor of the file itself,
// so that a symbolic link put in its place is not followed.
func finishFile(path string, mode fs.FileMode) (FileID, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return FileID{}, fmt.Errorf("cannot open the new socket file: %w", err)
	}
	defer unix.Close(fd)
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return FileID{}, fmt.Errorf("cannot stat the new socket file: %w", err)
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return FileID{}, fmt.Errorf("the new socket file was replaced by something else")
	}
	if mode != 0 {
		// fchmod(2) refuses O_PATH descriptors; their link in /proc does not.
		if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), uint32(mode)); err != nil {
			return FileID{}, fmt.Errorf("cannot set the mode of the socket file: %w", err)
		}
	}
	return identify(&stat), nil
}
