//go:build !linux

package listen

import (
	"io/fs"
	"os"
	"syscall"
)

// restrictMode does nothing: elsewhere than on Linux the mode of a socket
// before bind(2) has no effect, and the file has the umask's permissions until
// finishFile.
func restrictMode(int, fs.FileMode) error { return nil }

// finishFile gives the socket's file the mode asked for, where one was, and
// returns its identity.
func finishFile(path string, mode fs.FileMode) (FileID, error) {
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			return FileID{}, err
		}
	}
	var stat syscall.Stat_t
	if err := syscall.Lstat(path, &stat); err != nil {
		return FileID{}, err
	}
	return identify(&stat), nil
}
