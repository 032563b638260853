package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// exitTimeout is how long a supervisor may take to exit after it has said that
// everything has ended.
const exitTimeout = 5 * time.Second

func newStopCommand(e environment) *cobra.Command {
	t := &target{e: e}
	var now bool
	cmd := &cobra.Command{
		Use:   "stop [NAME] [flags]",
		Short: "Stop a service and its supervisor",
		Long: `Close the listeners, let every generation finish what it has accepted, at
most for the drain timeout, and return when the supervisor has ended.`,
		Args: argumentsOf(nameOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.stop(cmd, only(args), now)
		},
	}
	t.addFlag(cmd)
	cmd.Flags().BoolVar(&now, "now", false, "kill every generation instead of letting it finish")
	return cmd
}

func (t *target) stop(cmd *cobra.Command, name string, now bool) error {
	client, err := t.client(cmd, name)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// Who it is must be known before it ends.
	quick, done := context.WithTimeout(ctx, askTimeout)
	defer done()
	version, err := client.Version(quick)
	if err != nil {
		return fmt.Errorf("cannot stop: %w", err)
	}
	pidfd, err := unix.PidfdOpen(client.PID(), 0)
	if err != nil {
		pidfd = -1 // of another namespace, or gone already: its word must do
	} else {
		defer unix.Close(pidfd)
	}
	if err := client.Stop(ctx, now); err != nil {
		if ctx.Err() != nil {
			return errors.New("cannot tell whether it has stopped: interrupted; the stop goes on, see supervisor status")
		}
		return fmt.Errorf("cannot stop: %w", err)
	}
	if err := awaitExit(pidfd); err != nil {
		return fmt.Errorf("cannot see the end of pid %d: %w", client.PID(), err)
	}
	fmt.Fprintf(t.e.out, "stopped: service %s has ended\n", version.Service)
	return nil
}

// awaitExit waits until the process behind pidfd has ended (pidfd_open(2)).
func awaitExit(pidfd int) error {
	if pidfd < 0 {
		return nil
	}
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(exitTimeout); ; {
		n, err := unix.Poll(poll, int(max(0, time.Until(deadline).Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("it is still there after %v", exitTimeout)
		default:
			return nil
		}
	}
}
