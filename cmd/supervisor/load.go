package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/trial"
	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
)

const loadHelp = `Send traffic to a service at fixed rates, whatever its answers do, and count what
becomes of it. URL is http://, https://, unix:// with the path of a socket, or
tcp:// for a server that echoes bytes.

Latency is counted from when a request was due, so that a server that stalls
cannot hide it. Nothing is retried: only a request of which an HTTP/2 server says
that it did not process it is sent again, and counted as resent.

With --upgrade-every a running supervisor is asked for upgrades meanwhile, to the
PROGRAM behind -- if there is one. With --exec-every the COMMAND behind -- is run
instead, without a shell, to measure another way to reload. In both cases traffic
goes on until the last verdict is known, and what the clients saw in the time
after each is told apart.

The first interrupt ends the run early, with its report; the second one also cuts
off the requests in flight.

The exit status:
    0  no request failed, and all that was done to the service went well
    1  a request failed, or an upgrade was not committed, or a command failed
    2  the command was not understood
  128  and the number of a signal that ended the run early`

func newLoadCommand(e environment) *cobra.Command {
	f := &loadFlags{attemptFlags: attemptFlags{target: target{e: e}}}
	cmd := &cobra.Command{
		Use:   "load [flags] URL [-- PROGRAM [ARGS...]]",
		Short: "Send traffic to a service, upgrade it meanwhile, and count what is lost",
		Long:  loadHelp,
		Example: `  supervisor load http://127.0.0.1:8080/
  supervisor load --upgrade-every 2s --rate 500 --plot load.svg http://127.0.0.1:8080/
  supervisor load --exec-every 2s --keep-alive 50 http://127.0.0.1/ -- systemctl reload nginx`,
		Args: argumentsOf(urlAndProgram),
		RunE: f.run,
	}
	f.target.addFlag(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	f.traffic.add(cmd)
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var((*config.Duration)(&f.upgradeEvery), "upgrade-every", "ask the supervisor for an upgrade each `TIME`, or when the one before has its verdict")
	flags.StringVar(&f.service, "service", "", "`NAME` of the supervised service (default: the only one running)")
	flags.Var((*config.Duration)(&f.execEvery), "exec-every", "run the command behind -- each `TIME`, or when the one before has ended")
	for _, name := range []string{"upgrade-every", "exec-every"} {
		flags.Lookup(name).DefValue = "" // never
	}
	flags.BoolVar(&f.request.Force, "force", false, "with --upgrade-every: upgrade although admission objects to the moment, for example because of the load")
	f.after = time.Second
	flags.Var((*config.Duration)(&f.after), "after", "`TIME` after the beginning of an upgrade or a command that it has an influence")
	flags.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	flags.StringVar(&f.plot, "plot", "", "draw latency over time into this `FILE` (SVG), and the accept queue if a supervisor tells of it")
	return cmd
}

// loadFlags are what the command load can be told.
type loadFlags struct {
	attemptFlags // of which only the target and the request are used
	traffic      trafficFlags
	upgradeEvery time.Duration
	service      string
	execEvery    time.Duration
	after        time.Duration
	plot         string
}

// urlAndProgram takes one word before "--".
func urlAndProgram(cmd *cobra.Command, args []string) error {
	before, program := splitAtDash(cmd, args)
	dash := cmd.ArgsLenAtDash()
	switch {
	case before == "" || dash == 0:
		return errors.New("no URL given; for example http://127.0.0.1:8080/")
	case dash < 0 && len(args) > 1 || dash > 1:
		return fmt.Errorf("unexpected argument %q; there is one URL, and a program or a command stands behind --", args[1])
	case dash == len(args):
		return errors.New("nothing behind --")
	}
	upgrades, executes := cmd.Flags().Changed("upgrade-every"), cmd.Flags().Changed("exec-every")
	switch {
	case upgrades && executes:
		return errors.New("both --upgrade-every and --exec-every given; one is enough")
	case executes && len(program) == 0:
		return errors.New("--exec-every: no command behind --")
	case len(program) > 0 && !upgrades && !executes:
		return errors.New("what stands behind -- is used by --upgrade-every or --exec-every alone")
	}
	return nil
}

func (f *loadFlags) run(cmd *cobra.Command, args []string) error {
	url, program := splitAtDash(cmd, args)
	c, err := f.config(cmd, url)
	if err != nil {
		return usage(cmd, err)
	}
	if err := f.act(cmd, &c, program); err != nil {
		return err
	}
	stopping := catchStops(cmd.Context())
	well, err := f.measure(stopping, c)
	stopping.release()
	switch {
	case stopping.signal != 0 && (err == nil || errors.Is(err, context.Canceled)):
		return &exitError{Status: exitSignal + int(stopping.signal)}
	case err != nil:
		return err
	case !well:
		return &exitError{Status: exitFailed}
	}
	return nil
}

// measure looks whether somebody listens, sends the traffic and shows what came
// of it. It reports whether all was well.
func (f *loadFlags) measure(stopping *stops, c trial.Config) (well bool, err error) {
	if err := c.Load.Reach(stopping.ctx); err != nil {
		return false, withFlags(err)
	}
	picture, err := openPicture(f.plot)
	if err != nil {
		return false, err
	}
	result, err := trial.Run(stopping.ctx, stopping.hurry, c)
	if err == nil {
		err = errors.Join(picture.draw(result.WritePlot), f.show(result)) // who shows to a pipe that is closed ends there
	}
	return result.OK, errors.Join(err, picture.close())
}

// withFlags adds to the error of a service that cannot be reached what can be
// given to reach it.
func withFlags(err error) error {
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fmt.Errorf("%w; --ca names a file of authorities to trust, --insecure trusts any certificate", err)
	}
	return err
}

// config is the run without what is done to the service.
func (f *loadFlags) config(cmd *cobra.Command, url string) (trial.Config, error) {
	traffic, err := f.traffic.config(cmd, url)
	if err != nil {
		return trial.Config{}, err
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"upgrade-every", f.upgradeEvery}, {"exec-every", f.execEvery}, {"after", f.after}} {
		if cmd.Flags().Changed(d.name) && d.d <= 0 {
			return trial.Config{}, fmt.Errorf("--%s must be more than 0: %v", d.name, d.d)
		}
	}
	traffic.AfterEvent = f.after
	return trial.Config{URL: url, Load: traffic, Progress: f.e.err}, nil
}

// act adds to c what is done to the service.
func (f *loadFlags) act(cmd *cobra.Command, c *trial.Config, program []string) error {
	if f.execEvery > 0 {
		if _, err := exec.LookPath(program[0]); err != nil {
			return fmt.Errorf("cannot find the command behind --: %w", err)
		}
		c.Every, c.Actor = f.execEvery, trial.Command{Words: program}
	}
	if f.upgradeEvery == 0 && f.socket == "" && f.service == "" {
		return notEmpty(cmd, "socket")
	}
	client, err := f.client(cmd, f.service)
	if err != nil {
		return err
	}
	client.Reconnect = reconnectTime
	c.Queue = client
	if c.Wanted, err = listenersAt(cmd.Context(), client, c.Load.Target); err != nil {
		return err
	}
	if f.upgradeEvery > 0 {
		if err := f.setProgram(program, upgrade.Program{}); err != nil {
			return err
		}
		f.request.Reason = "supervisor load"
		c.Every, c.Actor = f.upgradeEvery, trial.Upgrader{Client: client, Request: f.request, Wanted: c.Wanted}
	}
	return nil
}

// listenersAt finds the listeners of a supervisor that listen at the port or
// the path of a target: all, if it cannot be told which.
func listenersAt(ctx context.Context, client *control.Client, target string) (func(string) bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, l := range status.Listeners {
		if sameEnd(l.Address, target) {
			names[l.Name] = true
		}
	}
	return func(name string) bool { return names[name] || len(names) == 0 }, nil
}

// sameEnd reports whether an address and a target have the same port or path.
func sameEnd(address, target string) bool {
	scheme, rest, _ := strings.Cut(target, "://")
	if scheme == "unix" {
		return address == rest
	}
	_, ours, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, theirs, err := net.SplitHostPort(rest)
	if err != nil { // none is written
		theirs = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return ours == theirs
}

func (f *loadFlags) show(r trial.Result) error {
	if !f.json {
		return r.WriteTable(f.e.out)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(f.e.err, "error: %s\n", problem)
	}
	return json.NewEncoder(f.e.out).Encode(r)
}
