package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/systemd"
	"github.com/spf13/cobra"
)

const unitHelp = `Print the systemd units of a service: a .socket unit for each --listen and a
.service that takes them over, hardened, with timeouts that fit the settings.

Put them into /etc/systemd/system, then

  systemctl daemon-reload
  systemctl enable --now NAME.socket NAME.service

The settings are those of "supervisor run". PROGRAM is looked for when the
service starts, not now.

Units can be read by everybody, and so can what is given by --env. For secrets
add EnvironmentFile= (a file of mode 0600) or LoadCredential= to the service, by
"systemctl edit NAME".`

// unitOptions are the flags of the command.
type unitOptions struct {
	e       environment
	cfg     config.Config
	user    string
	binary  string
	output  string
	version int

	noSocket, noNetwork, notifyReload, force bool
}

func newUnitCommand(e environment) *cobra.Command {
	o := &unitOptions{e: e, cfg: config.Default()}
	cmd := &cobra.Command{
		Use:   "unit NAME [flags] -- PROGRAM [ARGS...]",
		Short: "Print systemd units for a service",
		Long:  unitHelp,
		Example: `  supervisor unit web --listen http=tcp://0.0.0.0:80 -- /srv/web/current/web
  supervisor unit web --listen http=tcp://:80 --output /etc/systemd/system -- /srv/web/current/web`,
		Args: argumentsOf(unitArguments),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, program := splitAtDash(cmd, args)
			return o.run(cmd, name, program)
		},
	}
	flags := cmd.Flags()
	o.cfg.AddFlags(flags)
	for _, name := range ownedByUnit() {
		flags.Lookup(name).Hidden = true
	}
	flags.StringVar(&o.user, "user", "", "`USER` that the service runs as (default: NAME)")
	flags.BoolVar(&o.noSocket, "no-socket", false, "let the supervisor open the listeners, instead of systemd")
	flags.BoolVar(&o.noNetwork, "no-network", false, "forbid the program IP sockets besides those that systemd opens: it connects to nobody")
	flags.BoolVar(&o.notifyReload, "notify-reload", false, "make \"systemctl reload\" a signal, Type=notify-reload; needs --systemd 253 or more")
	flags.IntVar(&o.version, "systemd", systemd.OldestVersion, "oldest `VERSION` of systemd that the units are for; 254 adds what only that one knows")
	flags.StringVar(&o.binary, "binary", "", "`PATH` of the supervisor in the units (default: this one)")
	flags.StringVar(&o.output, "output", "", "`DIRECTORY` to write the units to, instead of printing them")
	flags.BoolVar(&o.force, "force", false, "replace units that are there (--output)")
	flags.SortFlags = false
	return cmd
}

// ownedByUnit are the settings that a unit says in its own way.
func ownedByUnit() []string { return []string{"name", "run-dir"} }

func unitArguments(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0:
		return errors.New("no NAME given")
	case dash > 1, dash < 0 && len(args) > 1:
		return fmt.Errorf("unexpected argument %q; write the program behind --", args[1])
	case dash < 0 || dash == len(args):
		return errors.New("no program behind --")
	}
	return nil
}

func (o *unitOptions) run(cmd *cobra.Command, name string, program []string) error {
	for _, flag := range []string{"user", "binary", "output"} {
		if err := notEmpty(cmd, flag); err != nil {
			return err
		}
	}
	if o.force && o.output == "" {
		return usage(cmd, errors.New("--force replaces units that are in a directory; say which with --output"))
	}
	u, err := o.unit(cmd, name, program)
	if err != nil {
		return badUnit(err)
	}
	files, err := u.Files()
	if err != nil {
		return badUnit(err)
	}
	if o.output != "" {
		return o.write(files)
	}
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(o.e.out)
		}
		if _, err := fmt.Fprintf(o.e.out, "# /etc/systemd/system/%s\n%s", f.Name, f.Text); err != nil {
			return fmt.Errorf("cannot print the units: %w", err)
		}
	}
	return nil
}

// badUnit puts each wrong value on a line of its own.
func badUnit(err error) error {
	if lines := strings.Split(err.Error(), "\n"); len(lines) > 1 {
		err = fmt.Errorf("cannot write these units:\n  %s", strings.Join(lines, "\n  "))
	}
	return &exitError{exitUsage, err}
}

// unit is what the command line asks for.
func (o *unitOptions) unit(cmd *cobra.Command, name string, program []string) (systemd.Unit, error) {
	if err := o.check(cmd, name, program); err != nil {
		return systemd.Unit{}, err
	}
	binary, err := o.supervisor()
	if err != nil {
		return systemd.Unit{}, err
	}
	u := systemd.Unit{
		Name: name, Command: binary, User: o.user, Version: o.version, NotifyReload: o.notifyReload, NoNetwork: o.noNetwork,
		Ready: time.Duration(o.cfg.ReadyTimeout), Upgrade: longestUpgrade(o.cfg), Stop: longestStop(o.cfg),
	}
	if u.User == "" {
		u.User = name
	}
	listen := o.cfg.Listen
	if o.noSocket {
		u.LowPort = hasLowPort(listen)
	} else if u.Sockets, err = socketsOf(listen); err != nil {
		return systemd.Unit{}, err
	} else {
		listen = takenFromSystemd(u.Sockets)
	}
	u.Run = slices.Concat([]string{"--name=" + name}, flagsOf("listen", listen), o.settings(cmd), []string{"--"}, program)
	return u, nil
}

// supervisor is the path of the binary that the units are to run.
func (o *unitOptions) supervisor() (string, error) {
	if o.binary == "" {
		path, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("cannot tell the path of this command: %w; give it with --binary", err)
		}
		return path, nil
	}
	if !filepath.IsAbs(o.binary) {
		return "", fmt.Errorf("--binary: %q is not an absolute path", o.binary)
	}
	return o.binary, nil
}

// check refuses what "supervisor run" would refuse, besides what only the
// machine that it will run on can tell.
func (o *unitOptions) check(cmd *cobra.Command, name string, program []string) error {
	for _, flag := range ownedByUnit() {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s is said by the unit itself; leave it out", flag)
		}
	}
	if err := config.CheckName(name); err != nil {
		return err
	}
	for _, suffix := range []string{".service", ".socket"} {
		if service, is := strings.CutSuffix(name, suffix); is {
			return fmt.Errorf("%s is the name of a unit; give that of the service: %s", name, service)
		}
	}
	if !filepath.IsAbs(program[0]) && (o.cfg.Dir == "" || !strings.Contains(program[0], "/")) {
		return fmt.Errorf("program %q is not an absolute path; a unit has no directory and no PATH of yours", program[0])
	}
	if o.noNetwork && o.cfg.Metrics != "" {
		return errors.New("--metrics: is an IP socket of the supervisor's own, which --no-network forbids; scrape the control socket instead")
	}
	var wrong []error
	if joined, ok := o.cfg.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			var setting *config.SettingError
			if errors.As(err, &setting) && !slices.Contains([]string{"program", "dir", "probe-command"}, setting.Key) {
				wrong = append(wrong, err)
			}
		}
	}
	return errors.Join(wrong...)
}

// settings are the flags that were given, as words for "supervisor run".
func (o *unitOptions) settings(cmd *cobra.Command) []string {
	var words []string
	for _, s := range o.cfg.Settings() {
		f := cmd.Flags().Lookup(s.Name)
		switch {
		case !f.Changed || s.Name == "listen":
		case f.Value.Type() == "stringArray":
			all, _ := cmd.Flags().GetStringArray(s.Name) // its type is known
			words = append(words, flagsOf(s.Name, all)...)
		default:
			words = append(words, "--"+s.Name+"="+f.Value.String())
		}
	}
	return words
}

// flagsOf are one flag for each value.
func flagsOf(name string, values []string) []string {
	var words []string
	for _, value := range values {
		words = append(words, "--"+name+"="+value)
	}
	return words
}

// longestUpgrade is how long an upgrade may take from its start to its verdict,
// undone at the last moment.
func longestUpgrade(c config.Config) time.Duration {
	return sum(c.ReadyTimeout, c.Overlap, c.GateTimeout, c.PauseTimeout, c.Bake, c.PauseTimeout)
}

// longestStop is how long generations may take to end: the drain, its end,
// SIGTERM and SIGKILL, each with its time.
func longestStop(c config.Config) time.Duration {
	return sum(c.DrainTimeout, c.StopGrace, c.StopGrace, c.StopGrace)
}

// sum stops at what a unit can say for certain, a hundred years.
func sum(all ...config.Duration) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	var total time.Duration
	for _, d := range all {
		total = min(total+min(time.Duration(d), most), most)
	}
	return total
}

// write puts the files into the directory, all or none if one is there.
func (o *unitOptions) write(files []systemd.File) error {
	if !o.force {
		for _, f := range files {
			if _, err := os.Lstat(filepath.Join(o.output, f.Name)); err == nil {
				return fmt.Errorf("cannot write %s: it is there already; compare, or replace it with --force", filepath.Join(o.output, f.Name))
			}
		}
	}
	for _, f := range files {
		path := filepath.Join(o.output, f.Name)
		if err := replaceFile(path, f.Text, o.force); err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
		fmt.Fprintln(o.e.out, path)
	}
	return nil
}

// replaceFile makes the file whole or not at all; without force only where none
// is.
func replaceFile(path, text string, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".unit-"+strconv.Itoa(os.Getpid())+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has another name if all went well
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(f.Name(), path)
	}
	return os.Link(f.Name(), path) // fails where there is one, unlike rename(2)
}
