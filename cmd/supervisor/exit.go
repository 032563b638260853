package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/supervisor/systemd"
	"github.com/spf13/cobra"
)

// The exit statuses of the command. Those from 10 on are verdicts.
const (
	exitOK         = 0  // done; committed
	exitFailed     = 1  // not done, or it cannot be told
	exitUsage      = 2  // not understood
	exitDown       = 3  // the status is told, and no generation accepts
	exitRefused    = 10 // the upgrade did not start
	exitAborted    = 11 // it ended before the cut-over was complete
	exitRolledBack = 12 // it ended after the cut-over
	exitCut        = 13 // committed, but connections were cut at the drain deadline
)

// exitError ends the command with a status of its own. Without Err, all has
// been said already.
type exitError struct {
	Status int
	Err    error
}

func (e *exitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *exitError) Unwrap() error { return e.Err }

// usage is an error in how the command was called.
func usage(cmd *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
}

// complaints is where what went wrong is said: standard error, with the priority of
// an error before each line if that is the journal's (sd-daemon(3)), where it is
// found by journalctl -p err then.
func complaints(e environment) io.Writer {
	if systemd.JournalStream(os.Stderr, e.getenv) {
		return prefixed{"<3>", e.err}
	}
	return e.err
}

// prefixed writes lines with something before each.
type prefixed struct {
	prefix string
	out    io.Writer
}

// Write takes whole lines.
func (p prefixed) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		if _, err := io.WriteString(p.out, p.prefix+line); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}

// exitStatus says what went wrong, if anything did, and returns the status to
// exit with.
func exitStatus(err error, out io.Writer) int {
	if err == nil {
		return exitOK
	}
	status := exitFailed
	var exit *exitError
	if errors.As(err, &exit) {
		if status = exit.Status; exit.Err == nil {
			return status
		}
	}
	fmt.Fprintf(out, "error: %v\n", err)
	return status
}
