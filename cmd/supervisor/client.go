package main

import (
	"context"
	"errors"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"github.com/spf13/cobra"
)

// askTimeout bounds a question that has a quick answer.
const askTimeout = 10 * time.Second

// target is which running supervisor a command is meant for.
type target struct {
	socket string // --socket
	e      environment
}

func (t *target) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.socket, "socket", "", "`PATH` of the control socket (default: found by the service's name, or the only one running)")
	cmd.ValidArgsFunction = t.complete
}

// client returns a client of the supervisor of the service called name; with
// neither a name nor a socket, of the only one that runs.
func (t *target) client(cmd *cobra.Command, name string) (*control.Client, error) {
	if err := notEmpty(cmd, "socket"); err != nil {
		return nil, err
	}
	if t.socket != "" {
		if name != "" {
			return nil, usage(cmd, errors.New("both a NAME and --socket given; one is enough"))
		}
		return control.NewClient(t.socket), nil
	}
	socket, err := rundir.Find(name, t.e.getenv, askName)
	if err != nil {
		return nil, err
	}
	return control.NewClient(socket), nil
}

// askName tells the name of the service behind a control socket.
func askName(socket string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	version, err := control.NewClient(socket).Version(ctx)
	return version.Service, err
}

// complete offers the names of the services that run.
func (t *target) complete(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault // of a program, perhaps
	}
	var names []cobra.Completion
	for _, s := range rundir.List(t.e.getenv) {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// only returns the NAME among a command's arguments, "" if there is none.
func only(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
