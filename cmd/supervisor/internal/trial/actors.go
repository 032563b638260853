package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/upgrade"
)

// An Upgrader asks a supervisor for upgrades.
type Upgrader struct {
	Client  *control.Client
	Request upgrade.Request
	// Wanted are the listeners whose queues are told of.
	Wanted figures.Wanted
}

// Act implements Actor.
func (u Upgrader) Act(ctx context.Context, doing func(string)) Attempt {
	began := time.Now()
	report, err := u.Client.Attempt(ctx, upgrade.KindUpgrade, u.Request, func(_ []byte, l control.Line) {
		if l.Step != nil {
			doing("upgrade: " + string(l.Step.Phase))
		}
	})
	if err != nil {
		a := Attempt{
			What: "upgrade", Verdict: Unknown, Reason: err.Error(),
			began: began, DurationSeconds: time.Since(began).Seconds(), interrupted: ctx.Err() != nil,
		}
		if a.interrupted {
			a.Reason = "interrupted; it may go on"
		}
		return a
	}
	a := Attempt{
		What: fmt.Sprintf("generation %d", report.To), OK: report.Verdict == upgrade.Committed,
		Verdict: string(report.Verdict), Reason: report.Reason, From: report.From, To: report.To,
		DurationSeconds: report.DurationSeconds, StartupSeconds: report.StartupSeconds, began: report.Started,
	}
	if report.To == 0 {
		a.What = "upgrade"
	}
	a.Account(report.Queues, u.Wanted)
	return a
}

// A Command runs a program again and again, without a shell.
type Command struct {
	// Words are the program, found by PATH, and its arguments.
	Words []string
}

const (
	// spoken is how much of a command's output is kept for its failure.
	spoken = 2000
	// aftermath is how long others may hold the output of a command that ended.
	aftermath = time.Second
)

// Act implements Actor. The command and what it started are killed at the end of
// ctx; it is in a process group of its own, so that an interrupt from a terminal
// is not for it. The command alone is killed with this process too
// (PR_SET_PDEATHSIG, prctl(2)).
func (c Command) Act(ctx context.Context, doing func(string)) Attempt {
	ended := make(chan Attempt)
	go func() { // joined below; the thread must live as long as the command, whose parent it is to the kernel
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- c.run(ctx, doing)
	}()
	return <-ended
}

// run is Act on a thread of its own.
func (c Command) run(ctx context.Context, doing func(string)) Attempt {
	doing("running " + c.Words[0])
	var said ending
	cmd := exec.CommandContext(ctx, c.Words[0], c.Words[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = aftermath
	began := time.Now()
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended well, and left somebody who writes
	}
	a := Attempt{
		What: short(filepath.Base(c.Words[0])), OK: err == nil, Verdict: Done,
		DurationSeconds: time.Since(began).Seconds(), began: began,
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		a.Verdict, a.Reason, a.interrupted = Unknown, "interrupted; it was killed", true
	default:
		a.Verdict, a.Reason = Broken, err.Error()
		if text := said.String(); text != "" {
			a.Reason += ": " + text
		}
	}
	return a
}

// short cuts a name to the columns that there are.
func short(name string) string {
	const columns = 14
	if runes := []rune(name); len(runes) > columns {
		return string(runes[:columns-1]) + "…"
	}
	return name
}

// An ending keeps the end of what is written to it.
type ending struct{ b bytes.Buffer }

// Write implements io.Writer.
func (e *ending) Write(p []byte) (int, error) {
	e.b.Write(p)
	if extra := e.b.Len() - spoken; extra > 0 {
		e.b.Next(extra)
	}
	return len(p), nil
}

// String is in one line.
func (e *ending) String() string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(e.b.String(), "?")), " ")
}
