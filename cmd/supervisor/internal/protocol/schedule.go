package protocol

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	term = syscall.SIGTERM
	hup  = syscall.SIGHUP
	usr2 = syscall.SIGUSR2
	quit = syscall.SIGQUIT
)

// A Schedule is how a program is told to end: signals, and how long is waited
// after each before the next.
type Schedule []Step

// A Step is one signal of a schedule. Wait is 0 after the last one.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

const (
	// maxSteps and maxWait are more than anybody means.
	maxSteps = 16
	maxWait  = 24 * time.Hour
)

// Signals is a schedule of one signal.
func Signals(s syscall.Signal) Schedule { return Schedule{{Signal: s}} }

// ParseSchedule reads signals and times in turn, divided by slashes, as those of
// start-stop-daemon(8): "TERM", "QUIT/20s/TERM/5s/KILL". A time is a duration or
// a number of seconds.
func ParseSchedule(text string) (Schedule, error) {
	parts := strings.Split(text, "/")
	if len(parts) > 2*maxSteps {
		return nil, fmt.Errorf("%d steps are too many; %d are enough", (len(parts)+1)/2, maxSteps)
	}
	var all Schedule
	for i, part := range parts {
		if i%2 == 0 {
			sig, err := parseSignal(part)
			if err != nil {
				return nil, err
			}
			all = append(all, Step{Signal: sig})
			continue
		}
		if i == len(parts)-1 {
			return nil, fmt.Errorf("%q follows the last signal; what comes after it is for drain-timeout and stop-grace to say", part)
		}
		wait, err := parseWait(part)
		if err != nil {
			return nil, err
		}
		all[len(all)-1].Wait = wait
	}
	return all, nil
}

func parseSignal(text string) (syscall.Signal, error) {
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	switch {
	case text == "":
		return 0, errors.New("a signal is missing; a schedule is such as TERM, or QUIT/20s/TERM/5s/KILL")
	case sig == 0:
		return 0, fmt.Errorf("%q is no signal; a schedule is such as TERM, or QUIT/20s/TERM/5s/KILL", text)
	case sig == syscall.SIGSTOP || sig == syscall.SIGTSTP || sig == syscall.SIGCHLD:
		return 0, fmt.Errorf("%s does not end a program", name)
	}
	return sig, nil
}

func parseWait(text string) (time.Duration, error) {
	wait, err := time.ParseDuration(text)
	if seconds, e := strconv.ParseUint(text, 10, 32); e == nil {
		wait, err = time.Duration(seconds)*time.Second, nil
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no time such as 20s between two signals", text)
	case wait <= 0 || wait > maxWait:
		return 0, fmt.Errorf("a wait of %v between two signals is not possible; the longest is %v", wait, maxWait)
	}
	return wait, nil
}

// String writes s as ParseSchedule reads it.
func (s Schedule) String() string {
	var b strings.Builder
	for i, step := range s {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(strings.TrimPrefix(unix.SignalName(step.Signal), "SIG"))
		if i < len(s)-1 {
			b.WriteString("/" + step.Wait.String())
		}
	}
	return b.String()
}

// Total is how long it takes until the last signal.
func (s Schedule) Total() (all time.Duration) {
	for _, step := range s {
		all += step.Wait
	}
	return all
}

// ParseStop reads how a program is told to end. An empty text is the protocol's
// way.
func (p Protocol) ParseStop(text string) (Schedule, error) {
	if text == "" {
		return p.Stop, nil
	}
	return ParseSchedule(text)
}
