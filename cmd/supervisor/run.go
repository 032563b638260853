package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"github.com/spf13/cobra"
)

func newRunCommand(e environment) *cobra.Command { return runCommand(e, serve) }

// runCommand is the command run, which does what it is told with its
// configuration.
func runCommand(e environment, do func(context.Context, config.Config, environment) error) *cobra.Command {
	flags := config.Default()
	flags.Activated = e.getenv("LISTEN_FDS") != "" || e.getenv(stateEnv) != ""
	var file string
	cmd := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGS...]",
		Short: "Run a service until it is told to stop",
		Long: `Open the listeners, start PROGRAM with them and keep it running.

A running service is upgraded by "supervisor upgrade" or SIGHUP, and stopped by
"supervisor stop", SIGTERM, SIGINT or SIGQUIT; a second signal ends it at once,
unless it comes within half a second of the first.`,
		Example: `  supervisor run --listen http=tcp://127.0.0.1:8080 -- /srv/web/current/web -v
  supervisor run --config /etc/web.toml`,
		Args: argumentsOf(programOnly),
		RunE: func(cmd *cobra.Command, program []string) error {
			if err := notEmpty(cmd, "config"); err != nil {
				return err
			}
			cfg, err := config.Load(file, flags, cmd.Flags(), program)
			if err != nil && goesOn(cfg, e) {
				flags.Resumes = true
				cfg, err = config.Load(file, flags, cmd.Flags(), program)
			}
			if err != nil {
				return badConfig(err)
			}
			e.reread = func(resumes bool) (config.Config, error) {
				again := flags
				again.Resumes = resumes
				return config.Load(file, again, cmd.Flags(), program)
			}
			return do(cmd.Context(), cfg, e)
		},
	}
	flags.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", "", "`FILE` (TOML) that says the same as the flags; flags win")
	cmd.Flags().SortFlags = false
	return cmd
}

// goesOn reports whether there is a supervisor to go on from.
func goesOn(cfg config.Config, e environment) bool {
	if e.getenv(stateEnv) != "" {
		return true
	}
	place, err := rundir.Choose(cfg.RunDir, cfg.ServiceName(), e.getenv, os.Geteuid())
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(place.Path, rundir.StateFile))
	return err == nil
}

// programOnly takes words behind "--" only, so that a forgotten dash is not
// taken for a program.
func programOnly(cmd *cobra.Command, args []string) error {
	switch before := cmd.ArgsLenAtDash(); {
	case before > 0 || before < 0 && len(args) > 0:
		return fmt.Errorf("unexpected argument %q; write the program behind --", args[0])
	case before == 0 && len(args) == 0:
		return fmt.Errorf("no program behind --")
	}
	return nil
}

// badConfig puts each wrong setting on a line of its own.
func badConfig(err error) error {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return &exitError{exitUsage, fmt.Errorf("cannot run this: %w", err)}
	}
	return &exitError{exitUsage, fmt.Errorf("cannot run this:\n  %s", strings.Join(lines, "\n  "))}
}

// baseEnvironment is the environment that a program's own entries are added to.
func baseEnvironment(clear bool) []string {
	if !clear {
		return os.Environ()
	}
	if path, ok := os.LookupEnv("PATH"); ok {
		return []string{"PATH=" + path}
	}
	return []string{}
}
