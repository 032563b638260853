package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
)

// recordRoom is how many bytes must be free in the run directory for an upgrade: a
// new state beside the old one, several times what they have ever been seen to have.
const recordRoom = 64 << 10

// A record is what is written down for the next supervisor. Its methods may be
// called concurrently, but for write, which has one caller.
type record struct {
	dir *rundir.Dir
	log *slog.Logger

	mu     sync.Mutex
	failed error // why the latest state is not written down
	gone   bool  // that the directory is gone has been logged
}

// write writes the state down.
//
// If it cannot, the file that is there tells of an earlier step, and whoever went
// by it could end the generation that is active by now, or have one go on that is
// draining. So it is removed: rather none than a wrong one. Then the next
// supervisor cannot adopt anybody: it says so, and dismisses the generations that
// are there if systemd has the listeners; else it does not start as long as they
// have them. With its room the file is often written all the same. Where it cannot
// even be removed, as on a file system that was made read-only, no supervisor can
// start there either, for want of a socket; when it can again, this one, if it
// lives, writes it anew at its next look.
func (r *record) write(state handover.State) error {
	err := r.dir.Check() // or it would be in the place of another supervisor's
	if err == nil {
		err = save(r.dir.State(), state)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.failed == nil:
		r.log.Error("cannot write down what a new supervisor would have to know; if this one is killed, its generations cannot be adopted", "error", err)
	case err == nil && r.failed != nil:
		r.log.Info("what a new supervisor would have to know is written down again")
	}
	r.failed = err
	return err
}

func save(path string, state handover.State) error {
	err := handover.Save(path, state)
	if err != nil && os.Remove(path) == nil {
		err = handover.Save(path, state)
	}
	return err
}

// missing reports whether the latest state is not written down, or is not there any
// more because somebody has removed it.
func (r *record) missing() bool {
	r.mu.Lock()
	failed := r.failed
	r.mu.Unlock()
	if failed != nil {
		return true
	}
	_, err := os.Lstat(r.dir.State())
	return errors.Is(err, fs.ErrNotExist)
}

// trouble says why the next supervisor could not go on from here, or soon will not
// be able to.
func (r *record) trouble() error {
	if err := r.dir.Check(); err != nil {
		return err
	}
	r.mu.Lock()
	err := r.failed
	r.mu.Unlock()
	if err == nil {
		err = r.dir.Room(recordRoom)
	}
	if err == nil {
		return nil
	}
	var cause syscall.Errno
	if errors.As(err, &cause) {
		err = cause
	}
	return fmt.Errorf("what the next supervisor needs to take over cannot be written to %s: %w; %s", r.dir.Path, err, mend(cause))
}

// mend is what is to be done about an error of a file system.
func mend(cause syscall.Errno) string {
	switch cause {
	case syscall.ENOSPC, syscall.EDQUOT:
		return "free some"
	case syscall.EROFS:
		return "make it writable"
	}
	return "mend that"
}

// see looks after the record while nothing happens: it logs, once, that the
// directory is gone, and has again written down what could not be or was removed.
func (r *record) see(again func(context.Context) error) {
	err := r.dir.Check()
	r.mu.Lock()
	told := r.gone
	r.gone = err != nil
	r.mu.Unlock()
	if err != nil && !told {
		r.log.Error("nobody can ask this supervisor for anything but by signals, and none can take over from it", "error", err)
	}
	if err == nil && r.missing() {
		_ = again(context.Background()) // it fails only where all has ended
	}
}
