package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// sweepTimeout is how long processes may take to be gone that were killed.
const sweepTimeout = 10 * time.Second

const sweepHelp = `End with SIGKILL what generations a dead supervisor left, if nobody is to take
them over. It is for ExecStopPost= in a unit with KillMode=process.

A supervisor that crashed is started again by systemd, and adopts its
generations: they are left alone. After a stop, and after one that took too
long, nobody adopts them: they are ended. What it was is told by
$SERVICE_RESULT, and by whether the supervisor had begun to stop; without
systemd nothing is ended, unless --now is given. Nothing is touched while a
supervisor lives. A process is known by its number and its start time.`

// sweeper ends what a dead supervisor left.
type sweeper struct {
	e      environment
	runDir string
	now    bool
}

func newSweepCommand(e environment) *cobra.Command {
	s := &sweeper{e: e}
	cmd := &cobra.Command{
		Use:     "sweep [flags]",
		Short:   "End what a dead supervisor left (for ExecStopPost=)",
		Long:    sweepHelp,
		Example: "  ExecStopPost=-/usr/local/bin/supervisor sweep",
		Hidden:  true,
		Args:    argumentsOf(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "run-dir"); err != nil {
				return err
			}
			return s.run(cmd)
		},
	}
	cmd.Flags().StringVar(&s.runDir, "run-dir", "", "`DIRECTORY` of the dead supervisor (default: $RUNTIME_DIRECTORY)")
	cmd.Flags().BoolVar(&s.now, "now", false, "end them whatever systemd says")
	return cmd
}

func (s *sweeper) run(cmd *cobra.Command) error {
	dir := s.runDir
	if dir == "" {
		dir, _, _ = strings.Cut(s.e.getenv("RUNTIME_DIRECTORY"), ":")
	}
	if dir == "" {
		return usage(cmd, errors.New("no run directory: RUNTIME_DIRECTORY is not set; give it with --run-dir"))
	}
	unlock, err := lockDead(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(s.e.out, "nothing is left: there is no %s\n", dir)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot sweep %s: %w", dir, err)
	}
	defer unlock()
	path := filepath.Join(dir, rundir.StateFile)
	_, none := os.Lstat(path)
	state, err := readState(path)
	kin, kinErr := kinOf(dir, state.Generations)
	if kinErr != nil {
		return kinErr
	}
	if errors.Is(none, fs.ErrNotExist) && len(kin) == 0 {
		fmt.Fprintf(s.e.out, "there is nothing to go by: no supervisor has left its state in %s\n", dir)
		return nil
	}
	if err != nil && len(kin) == 0 {
		if end, _ := judge(s.e.getenv("SERVICE_RESULT"), false, s.now); end { // what has a control group is known by that
			err = errors.Join(err, endAll(cmd.Context(), nil, nil))
		}
		return fmt.Errorf("cannot tell what was left: %w", err)
	}
	if err != nil {
		fmt.Fprintf(s.e.err, "cannot read what the dead supervisor wrote down, so goes by the marks of processes: %v\n", err)
	}
	return s.sweep(cmd.Context(), withKin(state, kin), func(ctx context.Context, left []upgrade.ProcessState, log *slog.Logger) error {
		errs := []error{endAll(ctx, left, log)}
		for _, k := range kin {
			errs = append(errs, orphan.End(ctx, k.Marker, log))
		}
		return errors.Join(errs...)
	})
}

// withKin adds generations that are known by their marks alone.
func withKin(state upgrade.State, kin []orphan.Kin) upgrade.State {
	state.Generations = slices.Clone(state.Generations)
	for _, k := range kin {
		p := upgrade.ProcessState{Generation: k.Generation}
		if len(k.First) > 0 {
			p.PID, p.StartTicks = k.First[0].PID, k.First[0].Start
		}
		state.Generations = append(state.Generations, p)
	}
	return state
}

// sweep ends the generations of state, or says why not.
func (s *sweeper) sweep(ctx context.Context, state upgrade.State, endAll func(context.Context, []upgrade.ProcessState, *slog.Logger) error) error {
	left := state.Generations
	if len(left) == 0 {
		fmt.Fprintln(s.e.out, "nothing is left: no generation was alive")
		return nil
	}
	end, why := judge(s.e.getenv("SERVICE_RESULT"), state.Machine.Stopping, s.now)
	if !end {
		fmt.Fprintf(s.e.out, "leaves %s: %s\n", leftInWords(left), why)
		return nil
	}
	if slices.ContainsFunc(left, func(p upgrade.ProcessState) bool { return !hasEnded(p) }) {
		fmt.Fprintf(s.e.out, "ends %s: %s\n", leftInWords(left), why)
	} else {
		fmt.Fprintf(s.e.out, "%s: no process is to be ended but what it may have left: %s\n", leftInWords(left), why)
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	log := slog.New(slog.NewTextHandler(s.e.err, nil))
	return endAll(ctx, left, log)
}

// judge decides whether what was left is to be ended. result is systemd's
// $SERVICE_RESULT (systemd.exec(5)), empty without systemd. Of a crash during a
// stop it says the same as of any other crash; that is what stopping is for.
func judge(result string, stopping, now bool) (end bool, why string) {
	switch {
	case now:
		return true, "--now"
	case result == "":
		return false, "systemd has not said how the service ended; --now would end what is left"
	case stopping:
		return true, "the supervisor had been told to stop"
	case result == "success", result == "timeout":
		return true, "nobody will take over what is left after result " + result
	}
	return false, "the next supervisor takes over what is left after result " + result
}

func leftInWords(left []upgrade.ProcessState) string {
	var all []string
	for _, p := range left {
		note := ""
		if hasEnded(p) {
			note = ", which has ended"
		}
		all = append(all, fmt.Sprintf("generation %d (pid %d%s)", p.Generation, p.PID, note))
	}
	return strings.Join(all, ", ")
}

// hasEnded reports whether a process is known to be gone.
func hasEnded(p upgrade.ProcessState) bool {
	if p.PID <= 0 || p.StartTicks == 0 {
		return false // nobody knows
	}
	ticks, err := startTicks(p.PID)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || err == nil && ticks != p.StartTicks
}

// readState reads what the dead supervisor wrote. No file is no generations, and
// those of before a boot are gone.
func readState(path string) (upgrade.State, error) {
	state, err := handover.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return upgrade.State{}, nil
	}
	if err != nil {
		return upgrade.State{}, fmt.Errorf("%w; find the processes with systemctl status, and end them with kill", err)
	}
	boot, err := handover.ThisBoot()
	if err != nil {
		return upgrade.State{}, err
	}
	if state.SameBoot(boot) != nil {
		return upgrade.State{}, nil
	}
	return state.Supervisor, nil
}

// lockDead takes the lock that a living supervisor would have, until unlock.
func lockDead(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("its supervisor lives; stop it with supervisor stop, or systemctl stop")
		}
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}
