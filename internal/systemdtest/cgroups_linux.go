package systemdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// groupPrefix begins the name of the cgroup of each instance.
const groupPrefix = "supervisor-systemd-test."

// cgroups is the cgroup v2 hierarchy of this machine by a mount that is
// attached nowhere and ends with Close (fsmount(2)). So it does not matter
// where, or whether, the machine has mounted it.
type cgroups struct{ mount *os.File }

func openCgroups() (cgroups, error) {
	config, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return cgroups{}, fmt.Errorf("cannot use cgroups v2: fsopen: %w", err)
	}
	defer unix.Close(config)
	if err := unix.FsconfigCreate(config); err != nil {
		return cgroups{}, fmt.Errorf("cannot use cgroups v2: fsconfig: %w", err)
	}
	fd, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return cgroups{}, fmt.Errorf("cannot use cgroups v2: fsmount: %w", err)
	}
	return cgroups{os.NewFile(uintptr(fd), "cgroup2")}, nil
}

func (c cgroups) Close() { c.mount.Close() }

// path is that of the cgroup of an instance, for as long as c is open.
func (c cgroups) path(run string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", c.mount.Fd(), groupPrefix+run)
}

// create makes the cgroup of an instance. The folder is the caller's to close.
func (c cgroups) create(run string) (*os.File, error) {
	err := os.Mkdir(c.path(run), 0o755)
	var folder *os.File
	if err == nil {
		folder, err = os.Open(c.path(run))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a cgroup: %w", err)
	}
	return folder, nil
}

// removeLimit is how long killed processes may take to leave their cgroup.
const removeLimit = 5 * time.Second

// remove kills what is in the cgroup of an instance and below, and removes all
// of it. None to remove is no error.
func (c cgroups) remove(run string) error {
	top := c.path(run)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(removeLimit); ; <-tick.C {
		// Since Linux 5.14 (cgroup-v2.rst). Before, killing PID 1 has to do.
		_ = os.WriteFile(filepath.Join(top, "cgroup.kill"), []byte("1"), 0)
		err := removeTree(top)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot remove cgroup %s: %w", groupPrefix+run, err)
		}
	}
}

// removeTree removes a cgroup with all below it, the lowest first.
func removeTree(top string) error {
	var folders []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(folders) {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}
