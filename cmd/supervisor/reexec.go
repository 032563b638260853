package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"github.com/spf13/cobra"
)

func newReexecCommand(e environment) *cobra.Command {
	t := &target{e: e}
	var name string
	cmd := &cobra.Command{
		Use:   "reexec [BINARY] [flags]",
		Short: "Replace the supervisor itself, in place",
		Long: `Have a running supervisor execute another BINARY, or its own file anew, in its
place: the pid stays, and with it the generations, their drains, the listeners
and whoever waits for a verdict.

The binary is first run as a check that it understands what the supervisor
knows; if it does not, nothing happens. While an upgrade is under way the
replacement is refused.

The exit status:
   0  replaced
   1  cannot tell: the supervisor cannot be reached or was lost
   2  the command was not understood
  10  refused: nothing has happened`,
		Example: `  supervisor reexec
  supervisor reexec ./supervisor --name web`,
		Args: argumentsOf(binaryOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "name"); err != nil {
				return err
			}
			binary, err := absolute(only(args))
			if err != nil {
				return &exitError{exitRefused, fmt.Errorf("cannot replace the supervisor: %w", err)}
			}
			return t.reexec(cmd, name, binary)
		},
	}
	t.addFlag(cmd)
	cmd.ValidArgsFunction = nil // of files
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the service (default: the only one running)")
	return cmd
}

// binaryOnly takes at most the path of a program.
func binaryOnly(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && args[0] == "" {
		return errors.New("the BINARY is empty; leave it out for the one that runs")
	}
	return cobra.MaximumNArgs(1)(cmd, args)
}

// absolute finds a program here, because the supervisor may be in another
// directory and have another PATH.
func absolute(binary string) (string, error) {
	if binary == "" {
		return "", nil
	}
	if !strings.ContainsRune(binary, filepath.Separator) {
		found, err := exec.LookPath(binary)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			return "", fmt.Errorf("cannot find the program %[1]s: it is not in PATH; for the service of that name say --name %[1]s, for a program give a path such as ./%[1]s", binary)
		}
		binary = found
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		return "", fmt.Errorf("cannot find %s: %w", binary, err)
	}
	return path, nil
}

func (t *target) reexec(cmd *cobra.Command, name, binary string) error {
	client, err := t.client(cmd, name)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done, err := client.Reexec(ctx, binary)
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		return notReplaced(refused)
	case ctx.Err() != nil:
		return errors.New("cannot tell whether the supervisor was replaced: interrupted; see supervisor status")
	case errors.Is(err, control.ErrLost):
		return errors.New("cannot tell whether the supervisor was replaced: it ended the connection without a word; see supervisor status")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(t.e.out, "supervisor %s replaced by %s in %s (pid %d as before)\n",
		shortVersion(done.From), shortVersion(done.To), inWords(done.Seconds), done.To.PID)
	return err
}

// notReplaced words a refusal.
func notReplaced(refused *control.RefusedError) error {
	err := fmt.Errorf("cannot replace the supervisor: %w", refused)
	switch refused.Status {
	case http.StatusConflict:
		return &exitError{exitRefused, err}
	case http.StatusBadRequest:
		return &exitError{exitUsage, err}
	}
	return err
}

// shortVersion is for example "v1.2.0 (0123456789ab)".
func shortVersion(v control.Version) string {
	if v.Revision == "" {
		return v.Version
	}
	return fmt.Sprintf("%s (%s)", v.Version, v.Revision[:min(12, len(v.Revision))])
}
