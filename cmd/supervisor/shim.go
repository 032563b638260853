package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/cmd/supervisor/internal/shim"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
)

// selfPath is the file of this binary to this process, also when another one has
// taken its name (proc_pid_exe(5)).
const selfPath = "/proc/self/exe"

// execution is how a release is run as a generation: as it is where the program
// speaks the native protocol, else below a shim.
func (h *host) execution(n int, r upgrade.Release) (path string, argv []string) {
	name := protocol.Name(r.Protocol)
	if name == "" || name == protocol.Native {
		return r.Path, r.Command
	}
	argv = []string{"supervisor", "shim", "--protocol", r.Protocol, "--socket", filepath.Join(h.dir.Path, rundir.NotifySocket(n))}
	if r.Ready != "" {
		argv = append(argv, "--ready", r.Ready)
	}
	if r.Stop != "" {
		argv = append(argv, "--stop-schedule", r.Stop)
	}
	if r.Watchdog != "" {
		argv = append(argv, "--watchdog", r.Watchdog)
	}
	argv = append(argv, "--grace", time.Duration(h.cfg.StopGrace).String())
	if name == protocol.Tableflip {
		specs, _ := listen.ParseSpecs(h.listeners.specsOf(r)) // by which they were opened
		for _, s := range specs {
			if s.Address != "" {
				argv = append(argv, "--written", s.Name+"="+s.Address)
			}
		}
	}
	return selfPath, append(append(argv, "--", r.Path), r.Command...)
}

// newShimCommand makes the command that stands between a supervisor and a program
// that does not speak its protocol.
func newShimCommand(e environment) *cobra.Command {
	cfg := shim.Config{Written: map[string]string{}, Self: fmt.Sprintf("/proc/%d/exe", os.Getpid())}
	var name, ready, stop, watchdog string
	var written []string
	cmd := &cobra.Command{
		Use:    "shim --protocol NAME [flags] -- FILE PROGRAM [ARGS...]",
		Short:  "Run a program that does not speak the native protocol as a generation",
		Hidden: true,
		Long:   "Started by a supervisor, and of no use to anybody else. FILE is executed as PROGRAM.",
		Args: argumentsOf(func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) < 2 {
				return errors.New("give FILE and PROGRAM behind --")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if cfg.Protocol, err = protocol.Parse(name); err != nil {
				return usage(cmd, err)
			}
			if cfg.Ready, err = cfg.Protocol.ParseReadiness(ready); err != nil {
				return usage(cmd, err)
			}
			if cfg.Stop, err = cfg.Protocol.ParseStop(stop); err != nil {
				return usage(cmd, err)
			}
			if cfg.Watchdog, err = cfg.Protocol.ParseWatchdog(watchdog); err != nil {
				return usage(cmd, err)
			}
			for _, w := range written {
				listener, address, _ := strings.Cut(w, "=")
				cfg.Written[listener] = address
			}
			cfg.Path, cfg.Command, cfg.Log = args[0], args[1:], slog.New(slog.NewTextHandler(e.err, nil))
			status, err := shim.Run(context.WithoutCancel(cmd.Context()), cfg)
			if err != nil {
				return err
			}
			shim.EndAs(status)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "protocol", "", "`NAME` of the protocol")
	flags.StringVar(&ready, "ready", "", "`WAY` in which the program is seen to be ready")
	flags.StringVar(&stop, "stop-schedule", "", "`SIGNALS` that tell the program to end")
	flags.StringVar(&watchdog, "watchdog", "", "`TIME` that the program may be silent")
	flags.DurationVar(&cfg.Grace, "grace", 5*time.Second, "time that it has to end when it was aborted")
	flags.StringVar(&cfg.Socket, "socket", "", "`PATH` for a socket on which the program says how it is")
	flags.StringArrayVar(&written, "written", nil, "`NAME=ADDRESS` of a listener as the configuration has it")
	return cmd
}
