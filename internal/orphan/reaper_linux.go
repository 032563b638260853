package orphan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settleTime is left to those who wait for their child, before this looks.
	settleTime = 5 * time.Millisecond
	// restTime bounds the time between two looks while nothing happens; the kernel
	// tells by a signal when something does.
	restTime = 10 * time.Second
)

// Adopt makes this process the one to which orphans below it are given
// (PR_SET_CHILD_SUBREAPER, prctl(2)), from now on. PID 1 is that one anyway.
// Somebody must run a [Reaper] then. It outlasts an exec, and children do not
// inherit it.
func Adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot adopt orphans: %w", err)
	}
	return nil
}

// Reaper reaps children that were given to this process and never started by it.
//
// The kernel does not tell the one sort of child from the other, and a wait for
// any child (wait4(2) with -1) takes the exit status from the os/exec that it
// belongs to. A list of all that this process ever starts would have to be kept by
// everybody who starts one, and is wrong when one forgets. So the Reaper goes by
// what it sees of a zombie:
//
//   - Known ones are somebody's, however long they stay: the launcher keeps
//     generations as zombies until it has heard them out.
//   - One that is in a process group of somebody else is reaped at once. This
//     process starts children in its own group or as leaders of one, and what
//     generations leave is mostly neither.
//   - Any other is reaped when it was seen in five looks, 250 ms apart. Whoever
//     waits for a child is woken by its end; a second of looks in which this
//     process runs, and which a stop or a suspend of the machine does not shorten,
//     is plenty.
//
// It waits for each by its number, and a zombie keeps its number until then.
type Reaper struct {
	// Known reports whether somebody else waits for a child: the generations. It
	// is called from the goroutine of Run. Nil means that nobody does. Children of
	// os/exec that are waited for from their start on need not be known.
	Known func(pid int) bool
	// Logger is told of what was reaped; nil means nobody.
	Logger *slog.Logger
}

// Run reaps until ctx is done. Only one may run in a process.
func (r *Reaper) Run(ctx context.Context) {
	known, log := r.Known, r.Logger
	if known == nil {
		known = func(int) bool { return false }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ended := make(chan os.Signal, 1) // that one is there says all
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	tick := time.NewTimer(0)
	defer tick.Stop()
	waiting, soon := suspects{}, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			if !soon { // or many of them would put the look off for ever
				soon = true
				tick.Reset(settleTime)
			}
			continue
		case <-tick.C:
			soon = false
		}
		if someZombie() {
			tick.Reset(lookApart)
			look(waiting, known, log)
		} else {
			tick.Reset(restTime)
			clear(waiting)
		}
	}
}

func look(waiting suspects, known func(int) bool, log *slog.Logger) {
	zombies, err := zombies()
	if err != nil {
		log.Warn("cannot look for orphans", "error", err)
		return
	}
	for _, z := range waiting.judge(zombies, unix.Getpgrp(), known, time.Now()) {
		reap(z, log)
	}
}

func reap(z Process, log *slog.Logger) {
	var status unix.WaitStatus
	pid, err := unix.Wait4(z.PID, &status, unix.WNOHANG, nil)
	if err == nil && pid == z.PID {
		log.Debug("reaped an orphan", "pid", z.PID, "name", z.Name, "status", status.ExitStatus(), "signal", status.Signal())
	} // else somebody was faster
}

// someZombie reports whether any child has ended and was not waited for, and
// leaves it so (waitid(2), WNOWAIT).
func someZombie() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return errors.Is(err, unix.EINTR) || err == nil && info.Signo != 0
}

// zombies lists the children that have ended.
func zombies() ([]Process, error) {
	pids, err := children()
	if errors.Is(err, os.ErrNotExist) { // CONFIG_PROC_CHILDREN is off
		pids, err = readNumbers("/proc")
	}
	if err != nil {
		return nil, err
	}
	own := os.Getpid()
	var found []Process
	for _, pid := range pids {
		p, err := readProcess(pid)
		if err == nil && p.Parent == own && p.dead() {
			found = append(found, p)
		}
	}
	return found, nil
}

// children lists the children of each thread of this process, proc_tid_children(5).
// One whose thread ends meanwhile may be left out; there is another look as long
// as there are zombies.
func children() ([]int, error) {
	threads, err := readNumbers("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var all []int
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/children")
		if err != nil && thread != threads[0] {
			continue // the thread has ended
		}
		if err != nil {
			return nil, err
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all, nil
}
