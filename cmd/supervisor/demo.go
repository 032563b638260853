package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/demo"
	"github.com/spf13/cobra"
)

// demoFlags are what the demo can be told.
type demoFlags struct {
	demo.Config
	json    bool
	plot    string
	keepLog string
	e       environment
}

func newDemoCommand(e environment) *cobra.Command {
	f := &demoFlags{Config: demo.Default(), e: e}
	cmd := &cobra.Command{
		Use:   "demo [flags]",
		Short: "Upgrade an example service under load and count what is lost",
		Long: `Start a supervisor with an example service on a loopback port, send it traffic
that must not be repeated, upgrade it again and again, and count. Three bad
versions are among those that it is offered: one that crashes must be aborted,
one that turns unhealthy and one that stops accepting must be rolled back.
Nothing else is needed and nothing is left behind.

The exit status is 0 only if no request failed and every verdict was right.`,
		Args: argumentsOf(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.Rate, "rate", f.Rate, "new connections per second; keep-alive clients send half as `MANY` requests besides")
	flags.Var((*config.Duration)(&f.Duration), "duration", "send requests for this `TIME`, or longer if the upgrades take longer")
	flags.IntVar(&f.Upgrades, "upgrades", f.Upgrades, "`NUMBER` of upgrades to be committed, besides the three bad versions")
	flags.Var((*config.Duration)(&f.Bake), "bake", "watch each new generation for this `TIME` before the commit")
	flags.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	flags.StringVar(&f.plot, "plot", "", "draw latency and the accept queue over time, with the upgrades marked, into this `FILE` (SVG)")
	flags.StringVar(&f.keepLog, "keep-log", "", "write the output of the supervisor and the service into this `FILE`")
	flags.IntVar(&f.LoseEvery, "lose-every", 0, "have the service lose one of so `MANY` requests, to see that it is noticed")
	flags.Lookup("lose-every").Hidden = true
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) (err error) {
	if f.Executable, err = os.Executable(); err != nil {
		return fmt.Errorf("cannot find the program that this is: %w", err)
	}
	if err := f.Validate(); err != nil {
		return usage(cmd, err)
	}
	picture, err := openPicture(f.plot)
	if err != nil {
		return err
	}
	if f.keepLog != "" {
		if f.Log, err = os.Create(f.keepLog); err != nil {
			return errors.Join(fmt.Errorf("cannot keep the log: %w", err), picture.close())
		}
		defer f.Log.Close()
	}
	f.Progress = f.e.err
	stopping := catchStops(cmd.Context())
	result := demo.Run(stopping.ctx, stopping.hurry, f.Config)
	stopping.release()
	err = f.show(result)
	if !result.Interrupted {
		err = errors.Join(err, picture.draw(result.WritePlot))
	}
	err = errors.Join(err, picture.close())
	switch {
	case err != nil:
		return err
	case result.Interrupted:
		return &exitError{Status: exitSignal + int(stopping.signal)}
	case !result.OK:
		return &exitError{Status: exitFailed}
	}
	return nil
}

func (f *demoFlags) show(r demo.Result) error {
	if !f.json {
		return r.WriteTable(f.e.out)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(f.e.err, "error: %s\n", problem)
	}
	return json.NewEncoder(f.e.out).Encode(r)
}

// exitSignal and the number of a signal make the exit status of a command that
// was ended by it, as shells have it.
const exitSignal = 128

// stops are the requests to stop: ctx ends with the first, hurry is closed at
// a later one that is not merely its double.
type stops struct {
	ctx     context.Context
	hurry   chan struct{}
	signal  syscall.Signal // the first; read after release
	release func()         // ends and joins the watch
}

func catchStops(parent context.Context) *stops {
	s := &stops{hurry: make(chan struct{})}
	ctx, cancel := context.WithCancel(parent)
	s.ctx = ctx
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var watching sync.WaitGroup
	watching.Go(func() {
		var heeded stopSignals
		var hurry sync.Once
		for {
			select {
			case sig := <-signals:
				switch stop, atOnce := heeded.heed(time.Now()); {
				case stop:
					s.signal, _ = sig.(syscall.Signal)
					cancel()
				case atOnce:
					hurry.Do(func() { close(s.hurry) })
				}
			case <-done:
				return
			}
		}
	})
	s.release = func() {
		signal.Stop(signals)
		close(done)
		watching.Wait()
		cancel()
	}
	return s
}

// newDemoRunCommand is run as the demo starts it.
func newDemoRunCommand(e environment) *cobra.Command {
	cmd := newRunCommand(e)
	cmd.Use = demo.RunCommand + " [flags] -- PROGRAM [ARGS...]"
	cmd.Short = "Run a service until standard input ends"
	cmd.Hidden = true
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, let, err := demo.HoldLeash(cmd.Context(), int(os.Stdin.Fd()))
		if err != nil {
			return err
		}
		defer let()
		cmd.SetContext(ctx)
		return run(cmd, args)
	}
	return cmd
}

func newDemoServiceCommand() *cobra.Command {
	var example demo.Example
	cmd := &cobra.Command{
		Use:    demo.ServiceCommand,
		Short:  "Be the example service of the demo",
		Hidden: true,
		Args:   argumentsOf(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := example.Validate(); err != nil {
				return usage(cmd, err)
			}
			return example.Serve(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&example.Version, "version-name", "v1", "`NAME` of the version, for the log")
	flags.StringVar((*string)(&example.Fault), "fault", "", "`FAULT` of the version: crash, sick or stall")
	flags.IntVar(&example.LoseEvery, "lose-every", 0, "lose one of so `MANY` requests")
	return cmd
}
