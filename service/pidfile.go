package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// leavePIDFile is the last that a process does with its PID file: one that was
// replaced names the other one, and the last one removes the file.
//
// So late because of systemd. When the main process ends it reads PIDFile=, and
// goes on with the process that it finds there: by then it is systemd's own child.
// Of a process that it hears of earlier (MAINPID=, or the PID file, which it reads
// after ExecReload= too) it notes for good that it is the child of somebody else;
// then it does not wait for its end at a stop but kills it at once.
func (a *solo) leavePIDFile() {
	path := a.service.cfg.PIDFile
	if isClosed(a.replaced) {
		if err := writePIDFile(path, a.heir); err != nil {
			a.service.log.Warn("the PID file is not right", "err", err)
		}
	} else if a.last() {
		text, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
			_ = os.Remove(path) // one that is left names a process that is gone
		}
	}
}

// writePIDFile replaces the file in one step. The path may be empty.
func writePIDFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cannot write the PID file: %w", err)
	}
	_, err = fmt.Fprintln(f, pid)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the PID file: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
