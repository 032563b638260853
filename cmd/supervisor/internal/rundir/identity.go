package rundir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Identity tells the directory from another one that had or will have its path:
// st_dev and st_ino of stat(2).
func (d *Dir) Identity() (dev, ino uint64, err error) {
	info, err := d.lock.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("cannot identify the run directory: %w", err)
	}
	dev, ino = identify(info)
	return dev, ino, nil
}

// IdentityOf is [Dir.Identity] of a directory that was left.
func IdentityOf(path string) (dev, ino uint64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot identify the run directory: %w", err)
	}
	dev, ino = identify(info)
	return dev, ino, nil
}

func identify(info fs.FileInfo) (dev, ino uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(st.Dev), st.Ino
}
