package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/history"
	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
	"golang.org/x/sync/errgroup"
)

const (
	// farewell is how long answers may take to reach their callers at the end.
	farewell = 2 * time.Second
	// auditInterval is how often the listeners are seen to while nothing gives
	// reason to.
	auditInterval = 5 * time.Second
	// endings is how many times stop-grace a generation may take to end once its
	// drain is over.
	endings = 3
)

// host is everything that a running supervisor holds open. Its fields are
// filled in the order in which they are declared, and given up in reverse.
type host struct {
	cfg        config.Config
	log        *slog.Logger
	own        *ownLog // where log goes
	signals    chan os.Signal
	notifier   *systemd.Notifier
	origin     *origin
	dir        *rundir.Dir
	history    *history.Log
	kept       *upgrade.Kept
	rendezvous *upgrade.Rendezvous
	keeper     keeper
	strangers  *strangers
	listeners  *listeners
	queues     *queues // of the listeners
	control    net.Listener
	scrape     net.Listener // nil without metrics over TCP

	supervisor *upgrade.Supervisor
	stats      *metrics.Metrics
	announcer  *announcer
	server     *control.Server
	children   children
	record     *record
}

// serve runs the service until it is told to stop.
func serve(ctx context.Context, cfg config.Config, e environment) (err error) {
	out := newPatientWriter(e.err)
	defer out.end()
	own := &ownLog{out: out}
	log, err := newLogger(cfg, own, e.getenv)
	if err != nil {
		return err
	}
	h := &host{cfg: cfg, log: log, own: own, signals: e.signals, kept: upgrade.NewKept()}
	if err := h.begin(ctx, e.getenv); err != nil {
		if h.origin.follows() {
			return err // and give up nothing: generations serve on, and the next supervisor takes over from them
		}
		return errors.Join(err, h.close())
	}
	defer func() { err = errors.Join(err, h.close()) }()
	return h.run(ctx)
}

// begin prepares all that run needs.
func (h *host) begin(ctx context.Context, getenv func(string) string) error {
	if err := h.open(ctx, getenv); err != nil {
		return err
	}
	return h.supervise()
}

// open opens all that the supervisor needs, or takes over what another one had
// open, before anything is started.
func (h *host) open(ctx context.Context, getenv func(string) string) (err error) {
	if h.notifier, err = systemd.NewNotifier(getenv); err != nil {
		return err
	}
	if h.origin, err = inherit(getenv); err != nil {
		return err
	}
	if err := h.openDir(getenv); err != nil {
		return err
	}
	h.record = &record{dir: h.dir, log: h.log}
	h.origin.recall(h.dir, h.cfg.ServiceName(), h.log)
	h.origin.recallStored(h.dir, h.log)
	if err := h.checkPaths(); err != nil {
		return err
	}
	h.openHistory(getenv)
	h.rendezvous, err = upgrade.OpenRendezvous(upgrade.RendezvousConfig{
		Path: h.dir.Rendezvous(), Service: h.cfg.ServiceName(), Missed: h.origin.missed, Cookies: h.origin.cookies(),
		StatsInterval: statsInterval(len(h.origin.cookies())), Logger: h.log,
	})
	if err != nil {
		return err
	}
	h.origin.gather(ctx, h.rendezvous, h.cfg.UpgradeProgram(), h.log)
	service, err := serviceMarker(h.dir)
	if err != nil {
		return err
	}
	h.keeper = keepGenerations(service, h.log)
	h.origin.bury(h.keeper, h.log) // what generations left may hold their listeners
	h.strangers = meet(h.keeper, h.origin.known(), h.cfg.Policy().StopGrace, h.log)
	if err := h.openListeners(ctx); err != nil {
		return err
	}
	if h.queues, err = watchQueues(h.listeners.all, h.origin.totals(h.log), h.cfg, h.log, h.listeners.look); err != nil {
		return err
	}
	return h.openSockets(ctx)
}

// openDir locks the run directory.
func (h *host) openDir(getenv func(string) string) error {
	name := h.cfg.ServiceName()
	place, err := rundir.Choose(h.cfg.RunDir, name, getenv, os.Geteuid())
	if err != nil {
		return err
	}
	if from := h.origin.state; from != nil {
		h.dir, err = rundir.Adopt(place, from.Lock, from.Made)
		return err
	}
	h.dir, err = rundir.Open(place)
	var running *rundir.RunningError
	if errors.As(err, &running) {
		return fmt.Errorf("cannot run service %s: it %w; try supervisor status, or another --name", name, err)
	}
	return err
}

// openListeners also removes what generations left that are gone, and has the
// service manager keep the listeners for the next start.
func (h *host) openListeners(ctx context.Context) error {
	sources, err := h.origin.sources(ctx, h.cfg, h.log)
	if errors.Is(err, listen.ErrInUse) && h.dir.Left {
		return fmt.Errorf("%w; service %s left %s: %s", err, h.cfg.ServiceName(), h.dir.Path, h.origin.advice())
	}
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return errors.New("there is no listener: the service manager passes none, and --listen names none")
	}
	if h.listeners, err = holdListeners(sources, h.log); err != nil {
		return err
	}
	h.store()
	return h.dir.Sweep(h.origin.alive())
}

// openSockets opens the supervisor's own.
func (h *host) openSockets(ctx context.Context) (err error) {
	if from := h.origin.handed(); from != nil && from.Control != 0 {
		h.control, err = listenerOf(from.Control)
	} else {
		h.control, err = h.dir.Listen()
	}
	if err != nil {
		return err
	}
	address := h.cfg.MetricsAddress()
	if from := h.origin.handed(); from != nil && from.Scrape != 0 {
		h.scrape, err = listenerOf(from.Scrape)
	} else if address != "" {
		h.scrape, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	switch {
	case err != nil && h.origin.follows(): // generations need a supervisor more than anybody needs these
		h.log.Error("cannot serve metrics over TCP; they are on the control socket", "address", address, "error", err)
	case err != nil:
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	if h.scrape != nil {
		h.log.Info("serves metrics", "address", h.scrape.Addr().String())
	}
	return nil
}

// store has the service manager keep the listeners that no socket unit holds, and
// forget those that are none any more, whose ports it would keep open. It returns
// when it has read that, so that none is lost if this supervisor is killed. Whether
// it does keep them it does not say: FileDescriptorStoreMax= may be 0.
func (h *host) store() {
	if !h.notifier.On() || h.origin.handed() != nil {
		return
	}
	var errs []error
	for _, name := range h.origin.unclaimed { // before others are stored under that name
		errs = append(errs, h.notifier.Unstore(name))
	}
	for _, l := range h.listeners.all {
		if !l.Kept {
			errs = append(errs, h.notifier.Store(systemd.StoreName(l.Name), l.FD))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, barrier(h.notifier))
	}
	if err := errors.Join(errs...); err != nil {
		h.log.Warn("cannot have the service manager keep the listeners", "error", err)
	}
}

// close gives up all that open opened; what is closed already stays so.
func (h *host) close() error {
	var errs []error
	for _, l := range []net.Listener{h.scrape, h.control} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if h.rendezvous != nil {
		errs = append(errs, h.rendezvous.Close())
	}
	errs = append(errs, h.queues.close(), h.listeners.close())
	h.history.Close()
	h.kept.Close()
	if h.dir != nil {
		errs = append(errs, h.dir.Close())
	}
	return errors.Join(errs...)
}

// supervise makes the supervisor and its metrics; nothing is started yet.
func (h *host) supervise() (err error) {
	version := ownVersion()
	h.stats = metrics.New(metrics.Build{Version: version.Version, Revision: version.Revision, Go: version.Go}, metrics.Sources{
		Status:    func(ctx context.Context) (upgrade.Status, error) { return h.supervisor.Status(ctx) },
		Queues:    h.queues.Figures,
		Namespace: h.queues.namespace,
	})
	h.announcer = newAnnouncer(h.notifier, h.queues.Figures, endings*h.cfg.Policy().StopGrace, h.origin.handed() != nil, h.log)
	watcher := newWatcher(h.cfg, h.audit, h.queues.monitor, h.need, h.stats.Decided, h.log)
	watcher.trouble = h.record.trouble
	cfg := upgrade.Config{
		Service:   h.cfg.ServiceName(),
		Program:   h.cfg.UpgradeProgram(),
		Policy:    h.cfg.Policy(),
		Watcher:   watcher,
		Hooks:     h.hooks(),
		Logger:    h.log,
		Reported:  h.reported,
		Choose:    h.choose,
		Kept:      h.kept,
		Began:     h.remember,
		Persist:   h.persist,
		Changed:   h.changed,
		After:     h.strangers.highest,
		Killed:    h.origin.killed,
		Survivors: h.origin.gathered.Survivors,
		Listeners: h.listeners.status(),
		Launcher: parting{strangers: h.strangers, Launcher: upgrade.NewLauncher(upgrade.LauncherConfig{
			Rendezvous:    h.rendezvous,
			Keeper:        h.keeper,
			Children:      h.children.set,
			Service:       h.cfg.ServiceName(),
			Listeners:     h.listeners.all,
			Close:         h.stopListening,
			Prepare:       h.prepare,
			Execute:       h.execution,
			Kept:          h.kept,
			OwnLine:       h.own.wrote,
			RunDir:        h.dir.Path,
			BaseEnv:       baseEnvironment(h.cfg.EnvClear),
			Stdout:        os.Stdout,
			Stderr:        os.Stderr,
			StatsInterval: statsInterval(len(h.listeners.all)),
			Counted:       h.counted,
			Logger:        h.log,
		})},
	}
	if from := h.origin.state; from != nil {
		cfg.From = &from.Supervisor
		h.listeners.users.adopt(from.Supervisor.Generations)
	}
	h.recount()
	h.supervisor, err = upgrade.New(cfg)
	return err
}

// prepare sees to all that a generation is handed.
func (h *host) prepare(generation int, r upgrade.Release) error {
	if err := h.dir.Check(); err != nil {
		return err
	}
	return h.listeners.lend(generation, r)
}

// audit checks what every generation needs.
func (h *host) audit() error {
	if err := h.dir.Check(); err != nil {
		return err
	}
	return h.listeners.audit()
}

// seeToRecord sees to what is written down for the next supervisor, and to the
// history.
func (h *host) seeToRecord() {
	h.record.see(h.supervisor.WriteDown)
	h.history.Retry()
}

// leaveOthersSocket has the control socket's file stay that has its name in a
// directory that is another one by now.
func (h *host) leaveOthersSocket() {
	if socket, ok := h.control.(*net.UnixListener); ok {
		socket.SetUnlinkOnClose(!errors.Is(h.dir.Check(), rundir.ErrGone))
	}
}

// recount goes on with the counts of another supervisor.
func (h *host) recount() {
	from := h.origin.state
	if from == nil {
		return
	}
	if len(from.Metrics) > 0 {
		if err := h.stats.Restore(from.Metrics); err != nil {
			h.log.Error("cannot go on with the counts of the last supervisor; they begin anew", "error", err)
		}
	}
	if h.origin.killed {
		h.stats.Recovered(len(h.origin.gathered.Survivors))
	} else {
		h.stats.Reexecuted()
	}
}

// counted takes what a generation reports; nil is its end, after which the
// listeners may want to be seen to.
func (h *host) counted(generation int, stats []fdpass.ListenerStats) {
	h.queues.counted(generation, stats)
	if stats == nil {
		h.listeners.users.remove(generation)
		h.listeners.look()
	}
}

// stopListening leaves the listeners to the last generation.
func (h *host) stopListening() {
	if err := errors.Join(h.queues.close(), h.listeners.close()); err != nil {
		h.log.Error("cannot close the listeners", "error", err)
	}
}

// run supervises, answers and heeds signals until the supervisor has ended.
func (h *host) run(ctx context.Context) error {
	supervisor := h.supervisor
	version := ownVersion()
	version.Service, version.PID = h.cfg.ServiceName(), os.Getpid()
	scrapes := h.stats.Handler(h.log)
	outward := observed{supervisor, h.queues.Figures, h.part, h.record.trouble}
	h.server = control.NewServer(control.ServerConfig{
		Supervisor: outward, Version: version, Metrics: scrapes, Logger: h.log,
		Queue:  &queue.View{Service: version.Service, Listeners: h.listeners.status(), Source: h.queues},
		Reexec: h.reexec, History: h.history.Entries,
	})
	begins := "starts"
	if from := h.origin.handed(); from != nil {
		begins = "goes on in the place of version " + from.Writer
	}
	h.log.Info(begins, "service", version.Service, "pid", version.PID, "version", version.Version, "control", h.dir.Control())

	group, ended := new(errgroup.Group), make(chan struct{})
	var verdict error
	group.Go(func() error {
		defer close(ended)
		if verdict = supervisor.Run(ctx); verdict != nil {
			verdict = fmt.Errorf("cannot run service %s: %w", version.Service, verdict)
		}
		h.announcer.ended(verdict)
		return nil
	})
	group.Go(func() error { return h.logged(h.server.Serve(h.control)) })
	if from := h.origin.handed(); from != nil {
		h.server.Resume(carriedBy(from.Streams))
	}
	group.Go(func() error {
		h.announcer.run(ended, supervisor.Alive)
		return nil
	})
	group.Go(func() error {
		h.listeners.watch(auditInterval, ended, h.seeToRecord)
		return nil
	})
	group.Go(func() error {
		heedSignals(h.signals, outward, h.announcer.hangup, h.log, ended)
		return nil
	})
	group.Go(func() error {
		<-ended
		h.leaveOthersSocket()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		h.server.Shutdown(ctx)
		return nil
	})
	group.Go(func() error {
		// Not before generations are adopted: one that ended while this program took
		// the place of another would be taken for somebody's orphan, and its exit
		// status with it. An error is that all has ended already.
		_ = supervisor.Alive(context.WithoutCancel(ctx))
		h.children.reap(ended, h.log)
		return nil
	})
	if h.scrape != nil {
		group.Go(func() error { return h.logged(serveMetrics(h.scrape, scrapes, ended)) })
	}
	err := group.Wait()
	err = errors.Join(verdict, err)
	h.log.Info("has ended", "service", version.Service)
	return err
}

// logged logs an error at once that will be reported only at the end.
func (h *host) logged(err error) error {
	if err != nil {
		h.log.Error(err.Error())
	}
	return err
}
