package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
)

// reconnectTime is how long a caller waits for the next supervisor.
const reconnectTime = 30 * time.Second

const verdictHelp = `
If the supervisor is killed meanwhile, the next one is asked for the verdict.

The exit status is the verdict:
   0  committed
   1  cannot tell: the supervisor cannot be reached or was lost
   2  the command was not understood
  10  refused: nothing was started
  11  aborted before the cut-over was complete: the old generation goes on
  12  rolled back after the cut-over: the old generation accepts again
  13  committed, but connections were cut at the drain deadline (--wait-drain)`

const dryRunHelp = `

With --dry-run it is 0 if admission would let it start, or 10; nothing is done.`

// attemptFlags are the flags of an upgrade and of a rollback.
type attemptFlags struct {
	target
	request   upgrade.Request
	reconnect config.Duration
	json      bool
}

func (f *attemptFlags) add(cmd *cobra.Command) {
	f.addFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print one JSON object per step, and the report last")
	flags.Var((*config.Duration)(&f.request.Timeout), "timeout", "give up, and undo what was done, if there is no verdict after this `TIME`")
	flags.Lookup("timeout").DefValue = "" // none
	f.reconnect = config.Duration(reconnectTime)
	flags.Var(&f.reconnect, "reconnect", "wait for this `TIME` for the next supervisor if this one is killed")
	flags.BoolVar(&f.request.Force, "force", false, "go on although admission objects to the moment, or the active generation does not pause")
	flags.IntVar(&f.request.IfGeneration, "if-generation", 0, "be refused unless generation `N` is the active one: unless nobody was faster")
	flags.Lookup("if-generation").DefValue = "" // none
	flags.BoolVar(&f.request.DryRun, "dry-run", false, "ask what admission says, and change nothing")
	flags.BoolVar(&f.request.WaitDrain, "wait-drain", false, "wait until the old generation, or the candidate that failed, has ended")
	flags.StringVar(&f.request.Reason, "note", "", "`TEXT` to be repeated in the report: a change number, a name")
}

func newUpgradeCommand(e environment) *cobra.Command {
	f := &attemptFlags{target: target{e: e}}
	var speaking upgrade.Program
	cmd := &cobra.Command{
		Use:   "upgrade [NAME] [flags] [-- PROGRAM [ARGS...]]",
		Short: "Replace what a service runs",
		Long: `Start the next release of a service beside the running one, let it prove
itself, and only then drain the old one; wait for the verdict.

Without PROGRAM the same command is resolved anew: the ordinary deployment,
where the file or the symlink behind the path has been replaced. With PROGRAM
that one is run from now on, in the same directory and environment, and is
spoken to in the same way unless --protocol says otherwise.
` + verdictHelp + dryRunHelp,
		Example: `  supervisor upgrade
  supervisor upgrade --dry-run
  supervisor upgrade web --wait-drain -- /srv/web/v2/web --listen-name http`,
		Args: argumentsOf(nameAndProgram),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, program := splitAtDash(cmd, args)
			if _, err := protocol.Parse(speaking.Protocol); err != nil {
				return usage(cmd, fmt.Errorf("--protocol: %w", err))
			}
			if err := f.setProgram(program, speaking); err != nil {
				return err
			}
			return f.attempt(cmd, upgrade.KindUpgrade, name)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&speaking.Protocol, "protocol", "", "`PROTOCOL` of the program from now on (default: as now)")
	flags.StringVar(&speaking.Ready, "ready", "", "`WAY` in which the program is seen to be ready (default: as now, or that of a new protocol)")
	flags.StringVar(&speaking.Stop, "stop-schedule", "", "`SIGNALS` that tell the program to end (default: as now, or those of a new protocol)")
	return cmd
}

func newRollbackCommand(e environment) *cobra.Command {
	f := &attemptFlags{target: target{e: e}}
	cmd := &cobra.Command{
		Use:   "rollback [NAME] [flags]",
		Short: "Go back to the release before",
		Long: `Replace what a service runs by the release that was committed before it, by
the same steps as an upgrade. While an upgrade runs, undo that upgrade.
` + verdictHelp + dryRunHelp,
		Args: argumentsOf(nameOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.attempt(cmd, upgrade.KindRollback, only(args))
		},
	}
	f.add(cmd)
	return cmd
}

// nameAndProgram takes at most one word before "--" and at least one behind it.
func nameAndProgram(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	} else if dash == len(args) {
		return errors.New("no program behind --")
	}
	if dash > 1 {
		return fmt.Errorf("unexpected argument %q; write the program behind --", args[1])
	}
	if dash == 1 && args[0] == "" {
		return errEmptyName
	}
	return nil
}

func splitAtDash(cmd *cobra.Command, args []string) (name string, program []string) {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		return only(args), nil
	}
	return only(args[:dash]), args[dash:]
}

// setProgram makes a path absolute here, because the supervisor may be in
// another directory. speaking is how the program is spoken to.
func (f *attemptFlags) setProgram(words []string, speaking upgrade.Program) error {
	if len(words) == 0 {
		if speaking.Protocol+speaking.Ready+speaking.Stop != "" {
			f.request.Program = &speaking
		}
		return nil
	}
	if strings.ContainsRune(words[0], filepath.Separator) {
		path, err := filepath.Abs(words[0])
		if err != nil {
			return fmt.Errorf("cannot find program %s: %w", words[0], err)
		}
		words = append([]string{path}, words[1:]...)
	}
	speaking.Command = words
	f.request.Program = &speaking
	return nil
}

// attempt asks, shows the steps, and turns the verdict into words and an exit
// status.
func (f *attemptFlags) attempt(cmd *cobra.Command, kind upgrade.Kind, name string) error {
	if cmd.Flags().Changed("timeout") && f.request.Timeout <= 0 {
		return usage(cmd, fmt.Errorf("--timeout must be more than 0: %v", f.request.Timeout))
	}
	if cmd.Flags().Changed("if-generation") && f.request.IfGeneration <= 0 {
		return usage(cmd, fmt.Errorf("--if-generation must be more than 0: %d", f.request.IfGeneration))
	}
	client, err := f.client(cmd, name)
	if err != nil {
		return err
	}
	client.Reconnect = time.Duration(f.reconnect)
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	show := newProgress(f.e.out, f.json)
	report, err := client.Attempt(ctx, kind, f.request, show.line)
	show.close()
	if err != nil {
		return cannotTell(ctx, kind, err)
	}
	if !f.json {
		fmt.Fprintln(f.e.out, verdictInWords(report))
	}
	if status := verdictStatus(report); status != exitOK {
		return &exitError{Status: status}
	}
	return nil
}

// cannotTell words the end of an attempt without a verdict.
func cannotTell(ctx context.Context, kind upgrade.Kind, err error) error {
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		err = fmt.Errorf("cannot ask for the %s: %w", kind, err)
		if refused.Status == http.StatusBadRequest {
			return &exitError{exitUsage, err}
		}
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("cannot tell the verdict: interrupted; the %s goes on, see supervisor status", kind)
	case errors.Is(err, control.ErrLost):
		return fmt.Errorf("cannot tell the verdict: %w; see supervisor status", err)
	}
	return err
}
