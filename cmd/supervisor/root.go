package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newRootCommand(e environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "supervisor",
		Short: "Run a network service and upgrade it without losing a connection",
		Long: `Supervisor runs one network service. It holds the listening sockets, starts
the service's program with them, and on command starts the next release beside
it, lets that one prove itself, and only then drains the old one.

  supervisor run --listen http=tcp://127.0.0.1:8080 -- /srv/web/current/web
  supervisor upgrade`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that RunE words the error
		RunE:          unknownCommand,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(commands(e)...)
	root.InitDefaultHelpCmd()
	refuseUnknownTopics(root)
	return root
}

// refuseUnknownTopics has "help" treat a word that is no command as such; cobra's own
// would show the general help and succeed.
func refuseUnknownTopics(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" {
			continue
		}
		show := cmd.Run
		cmd.Run, cmd.RunE = nil, func(cmd *cobra.Command, args []string) error {
			if found, rest, err := root.Find(args); err != nil || len(rest) > 0 {
				return unknownCommand(found, rest)
			}
			show(cmd, args)
			return nil
		}
	}
}

// commands are all commands besides cobra's own help and completion.
func commands(e environment) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(e),
		newUpgradeCommand(e),
		newRollbackCommand(e),
		newReexecCommand(e),
		newCheckStateCommand(e),
		newShimCommand(e),
		newStatusCommand(e),
		newHistoryCommand(e),
		newQueueCommand(e),
		newStopCommand(e),
		newUnitCommand(e),
		newSweepCommand(e),
		newVersionCommand(e),
		newLoadCommand(e),
		newDemoCommand(e),
		newDemoRunCommand(e),
		newDemoServiceCommand(),
	}
}

// unknownCommand is reached when the first word is no command.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		if err := root.Help(); err != nil {
			return err
		}
		return usage(root, fmt.Errorf("no command given"))
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(root, fmt.Errorf("unknown command %q; did you mean %s?", args[0], strings.Join(near, " or ")))
	}
	return usage(root, fmt.Errorf("unknown command %q", args[0]))
}

// nameOnly takes at most the NAME of a service.
func nameOnly(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && args[0] == "" {
		return errEmptyName
	}
	return cobra.MaximumNArgs(1)(cmd, args)
}

// errEmptyName tells of a NAME that is probably an unset variable of a script.
var errEmptyName = errors.New("the NAME is empty; leave it out for the only service that runs")

// notEmpty refuses a flag that was given without a value, probably an unset
// variable of a script.
func notEmpty(cmd *cobra.Command, flag string) error {
	if f := cmd.Flags().Lookup(flag); f.Changed && f.Value.String() == "" {
		return usage(cmd, fmt.Errorf("--%s is empty; give a value, or leave it out", flag))
	}
	return nil
}

// argumentsOf refuses arguments with the exit status for it.
func argumentsOf(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(cmd, err)
		}
		return nil
	}
}
