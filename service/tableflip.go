package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"
)

const (
	// hasParent is the variable by which tableflip tells a process that it was
	// started by an upgrade, with pipes to the one before as descriptors 3 and 4.
	hasParent = "TABLEFLIP_HAS_PARENT_7DIU3"
	// lineName is how tableflip knows the one descriptor that it passes: the line.
	lineName = "example.com/supervisor/service"
	// parentStays is tableflip's error while the process before is there.
	parentStays = "parent hasn't exited"
	// parentGrace is how long an upgrade waits for the end of the process before.
	parentGrace = time.Second
)

// An upgrader starts the next process and waits until it is ready. Which
// program that is, how the two find each other and the time limit are tableflip's. Of the descriptors it passes only the line between the two,
// over which the listeners go: tableflip would keep a copy of each that its
// process's event loop watches for ever, and remove the files of Unix sockets.
//
// There is one per process, because tableflip's state is the process's.
type upgrader struct {
	flip *tableflip.Upgrader
}

// newUpgrader also returns this process's end of the line if an upgrade started
// it. The environment keeps no trace of that.
func newUpgrader(started bool, timeout time.Duration) (*upgrader, *line, error) {
	flip, err := tableflip.New(tableflip.Options{UpgradeTimeout: timeout})
	_ = os.Unsetenv(hasParent)
	if err != nil {
		return nil, nil, err
	}
	u := &upgrader{flip}
	if !started {
		return u, nil, nil
	}
	end, err := flip.File(lineName)
	if err != nil || end == nil {
		u.close()
		return nil, nil, errors.Join(err, errors.New("the process that started this one by an upgrade does not use this package, or runs a supervisor's --protocol tableflip: stop it and start this one, or use --protocol native"))
	}
	defer end.Close()
	l, err := lineOf(end)
	if err != nil {
		u.close()
	}
	return u, l, err
}

// startedByUpgrade reports whether tableflip's variable means this process. It
// may as well be inherited from one that it meant: then descriptors 3 and 4 are
// not its pipes, and the variable is removed. The pipes are not for programs that
// this one starts.
func startedByUpgrade() bool {
	if os.Getenv(hasParent) == "" {
		return false
	}
	for fd := 3; fd <= 4; fd++ {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
			_ = os.Unsetenv(hasParent)
			return false
		}
	}
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	return true
}

// upgrade starts the program anew, with end as its end of the line, which it
// borrows, and returns when it is ready, or the reason why it is not.
func (u *upgrader) upgrade(end *os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), parentGrace)
	u.awaitParent(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return errors.New("the process before this one still drains: try again when it has ended")
	}
	if err := u.flip.AddFile(lineName, end); err != nil {
		return fmt.Errorf("cannot pass the line: %w", err)
	}
	err := u.flip.Upgrade()
	// tableflip takes a moment to notice what WaitForParent has noticed.
	for n := 0; n < 100 && err != nil && err.Error() == parentStays; n++ {
		<-time.After(10 * time.Millisecond)
		err = u.flip.Upgrade()
	}
	return err
}

// awaitParent returns when the process before has ended, which tableflip wants
// before an upgrade, so that there are two at most; or when ctx has.
func (u *upgrader) awaitParent(ctx context.Context) { _ = u.flip.WaitForParent(ctx) }

// ready says so to the process before, if there is one.
func (u *upgrader) ready() error { return u.flip.Ready() }

// close prevents upgrades and ends one that is under way: its process is killed
// unless it was ready before.
func (u *upgrader) close() {
	u.flip.Stop()
	<-u.flip.Exit()
}
