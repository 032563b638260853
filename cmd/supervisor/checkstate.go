package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
)

// newCheckStateCommand makes the command by which a supervisor tries a binary
// out before it executes it in its place.
func newCheckStateCommand(e environment) *cobra.Command {
	return &cobra.Command{
		Use:    "check-state -- run [flags] -- PROGRAM [ARGS...]",
		Short:  "Check that this binary can take a running supervisor's place",
		Hidden: true,
		Long: `Read the state of a supervisor from the memfd whose descriptor is given by
` + stateEnv + `, and the configuration as the arguments of that supervisor
give it; check that this binary could go on from there. Nothing is touched. It
prints its version as JSON, or fails with the reason.`,
		Args: argumentsOf(func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) == 0 || args[0] != "run" {
				return errors.New("the arguments of the running supervisor are missing; give them behind --")
			}
			return nil
		}),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkHandedOn(e, args[1:]); err != nil {
				return fmt.Errorf("cannot go on from the state: %w", err)
			}
			return json.NewEncoder(e.out).Encode(checkedState{ownVersion(), handover.Version})
		},
	}
}

// checkHandedOn does what this binary would do first in a supervisor's place, as far
// as it changes nothing. args are those of that supervisor's command run.
func checkHandedOn(e environment, args []string) error {
	number := e.getenv(stateEnv)
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%q is not the number of a descriptor", stateEnv, number)
	}
	state, err := handover.FromMemfd(fd)
	if err != nil {
		return err
	}
	boot, err := handover.ThisBoot()
	if err != nil {
		return err
	}
	if err := state.SameBoot(boot); err != nil {
		return err
	}
	cfg, err := configOf(e, args)
	if err != nil {
		return err
	}
	if err := suits(state, cfg); err != nil {
		return err
	}
	return fitsHere(state, cfg, e)
}

// fitsHere says why the configuration cannot be had where the other supervisor
// runs.
func fitsHere(state handover.State, cfg config.Config, e environment) error {
	if _, err := newLogger(cfg, io.Discard, e.getenv); err != nil {
		return err
	}
	place, err := rundir.Choose(cfg.RunDir, cfg.ServiceName(), e.getenv, os.Geteuid())
	if err != nil {
		return err
	}
	if state.RunDir != "" && place.Path != state.RunDir {
		return fmt.Errorf("its run directory is %s, and the configuration says %s; stop the service to move it", state.RunDir, place.Path)
	}
	return nil
}

// configOf is the configuration of a supervisor that was started by the command
// run with these arguments.
func configOf(e environment, args []string) (config.Config, error) {
	var cfg *config.Config
	run := runCommand(e, func(_ context.Context, c config.Config, _ environment) error {
		cfg = &c
		return nil
	})
	run.SetArgs(args)
	run.SetOut(io.Discard)
	run.SilenceErrors, run.SilenceUsage = true, true
	if err := run.Execute(); err != nil {
		return config.Config{}, err
	}
	if cfg == nil { // --help
		return config.Config{}, errors.New("the arguments do not run a service")
	}
	return *cfg, nil
}

// suits says why a supervisor with this configuration cannot go on from the
// state.
func suits(state handover.State, cfg config.Config) error {
	if running, name := state.Supervisor.Service, cfg.ServiceName(); running != name {
		return fmt.Errorf("it is of service %s, and the configuration says %s; stop the service to rename it", running, name)
	}
	if err := state.Supervisor.ValidateHandedOn(); err != nil {
		return err
	}
	if _, err := upgrade.RestoreMachine(cfg.Policy(), state.Supervisor.Machine); err != nil {
		return err
	}
	for _, s := range state.Streams {
		if err := json.Unmarshal(s.Details, new(control.Carried)); err != nil {
			return fmt.Errorf("a client cannot be carried over: %w", err)
		}
	}
	if len(state.Metrics) == 0 {
		return nil
	}
	return metrics.New(metrics.Build{}, metrics.Sources{}).Check(state.Metrics)
}
