package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"github.com/spf13/cobra"
)

// queueFlags are what the command queue can be told.
type queueFlags struct {
	target
	interval config.Duration
	json     bool
	all      bool
}

func newQueueCommand(e environment) *cobra.Command {
	f := &queueFlags{target: target{e: e}}
	cmd := &cobra.Command{
		Use:   "queue [NAME] [flags]",
		Short: "Show the accept queues: who waits, how long, what was dropped",
		Long: `Show the accept queue of each listener of a service: how many connections
wait to be accepted (depth) and how many may (limit), how long the oldest has
waited and 99 % of those accepted lately (p99), what the kernel dropped, how
many arrive, and how long the queue would take to fill if nobody accepted
(headroom). A figure that is not known is "-". Drops count packets: a client
that waits adds one with every attempt. What is wrong is said below its line,
after a "!".

With --all, show every listener of the network namespace, whoever has it, those
in trouble first. That needs no supervisor; those that run are asked which of
the listeners are theirs.

With --watch, go on until interrupted or the supervisor ends: in a terminal as
a screen with the depth over time for each queue, elsewhere as one line per
queue and interval.`,
		Example: `  supervisor queue --watch
  supervisor queue web --watch=1s --json
  supervisor queue --all`,
		Args: argumentsOf(nameOnly),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, only(args)) },
	}
	f.addFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print a JSON object; with --watch, one per line and interval")
	flags.BoolVar(&f.all, "all", false, "show every listener of the network namespace")
	flags.Var(&f.interval, "watch", "look again after each `INTERVAL`, 10ms or more; to give one, write --watch=INTERVAL")
	flags.Lookup("watch").DefValue = "" // no watch
	flags.Lookup("watch").NoOptDefVal = queue.DefaultInterval.String()
	return cmd
}

// rounds take pictures of queues, one after the other.
type rounds interface {
	once(ctx context.Context) (queue.Picture, error)
	// watch hands a picture per interval to each, as JSON too, until ctx is done
	// or there will be no more; then it returns nil.
	watch(ctx context.Context, interval time.Duration, each func(text []byte, p queue.Picture) error) error
}

func (f *queueFlags) run(cmd *cobra.Command, name string) error {
	watch := cmd.Flags().Changed("watch")
	if err := f.check(cmd, name, watch); err != nil {
		return err
	}
	source, err := f.source(cmd, name)
	if err != nil {
		return err
	}
	if watch {
		return f.watch(cmd.Context(), source)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
	defer cancel()
	picture, err := source.once(ctx)
	if err != nil {
		return fmt.Errorf("cannot tell the accept queues: %w", err)
	}
	if f.json {
		return json.NewEncoder(f.e.out).Encode(picture)
	}
	return queue.WriteText(f.e.out, picture)
}

func (f *queueFlags) check(cmd *cobra.Command, name string, watch bool) error {
	if err := notEmpty(cmd, "socket"); err != nil {
		return err
	}
	if watch {
		if err := queue.CheckInterval(time.Duration(f.interval)); err != nil {
			return usage(cmd, fmt.Errorf("--watch %w", err))
		}
		if _, err := time.ParseDuration(name); err == nil {
			return usage(cmd, fmt.Errorf("%q was taken for a NAME; for an interval write --watch=%s", name, name))
		}
	}
	if f.all && name != "" {
		return usage(cmd, errors.New("both a NAME and --all given; --all shows the listeners of all services and of everybody else"))
	}
	return nil
}

func (f *queueFlags) source(cmd *cobra.Command, name string) (rounds, error) {
	if f.all {
		return &survey{getenv: f.e.getenv, socket: f.socket}, nil
	}
	client, err := f.client(cmd, name)
	if err != nil {
		return nil, err
	}
	return served{client}, nil
}

// served are the queues of a running supervisor.
type served struct{ client *control.Client }

func (s served) once(ctx context.Context) (queue.Picture, error) { return s.client.Queue(ctx) }

func (s served) watch(ctx context.Context, interval time.Duration, each func([]byte, queue.Picture) error) error {
	return s.client.WatchQueue(ctx, interval, func(text []byte, q queue.Snapshot) error { return each(text, q) })
}

// watch shows rounds until there are no more, or it is told to end: that is how
// a watch ends, and no failure.
func (f *queueFlags) watch(parent context.Context, source rounds) error {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	interval, err := time.Duration(f.interval), error(nil)
	switch screen := queue.NewScreen(f.e.out, f.e.getenv); {
	case f.json:
		err = source.watch(ctx, interval, func(text []byte, _ queue.Picture) error {
			_, err := fmt.Fprintf(f.e.out, "%s\n", text)
			return err
		})
	case screen != nil:
		err = newLive(screen, interval).run(ctx, source)
	default:
		first := true
		err = source.watch(ctx, interval, func(_ []byte, p queue.Picture) error {
			defer func() { first = false }()
			return queue.WriteRows(f.e.out, p, first)
		})
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("cannot watch the accept queues: %w", err)
	case !f.json:
		fmt.Fprintln(f.e.out, "the supervisor has ended")
	}
	return nil
}
