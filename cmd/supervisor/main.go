// Command supervisor runs one network service and replaces its program, its
// arguments or its configuration without a failed, reset or delayed
// connection.
package main

import (
	"example.com/supervisor/cmd/supervisor/internal/config"
	"io"
	"os"
	"os/signal"

	"example.com/supervisor/cmd/supervisor/internal/shim"
)

func main() {
	shim.Flip()
	shim.Exec(os.Args)
	os.Exit(run(os.Args...))
}

// run is the whole command; it returns the exit status.
func run(args ...string) int {
	e := environment{out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	if len(args) > 1 && args[1] == "run" {
		e.signals = catchSignals()
		defer signal.Stop(e.signals)
	}
	root := newRootCommand(e)
	root.SetArgs(args[1:])
	return exitStatus(root.Execute(), complaints(e))
}

// environment is what a command needs of the process that it runs in.
type environment struct {
	out, err io.Writer
	getenv   func(string) string
	// reread reads the configuration of the command run again; nil for other
	// commands.
	reread func(resumes bool) (config.Config, error)
	// signals are caught from the very start of the command run: it may have been
	// executed in the place of a supervisor that is being sent one.
	signals chan os.Signal
}
