package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
	"golang.org/x/sync/errgroup"
)

const (
	// farewell is how long answers may take to reach their callers at the end.
	farewell = 2 * time.Second
	// auditInterval is how often the listeners are seen to while nothing gives
	// reason to.
	auditInterval = 5 * time.Second
)

// host is everything that a running supervisor holds open. Its fields are
// filled in the order in which they are declared, and given up in reverse.
type host struct {
	cfg       config.Config
	log       *slog.Logger
	own       *ownLog // where log goes
	signals   chan os.Signal
	dir       *rundir.Dir
	listeners *listeners
	queues    *queues // of the listeners
	control   net.Listener
	scrape    net.Listener // nil without metrics over TCP
}

// serve runs the service until it is told to stop.
func serve(ctx context.Context, cfg config.Config, e environment) (err error) {
	own := &ownLog{out: e.err}
	h := &host{cfg: cfg, log: newLogger(cfg, own), own: own, signals: catchSignals()}
	defer signal.Stop(h.signals)
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.open(ctx, e.getenv); err != nil {
		return err
	}
	supervisor, stats, err := h.supervise()
	if err != nil {
		return err
	}
	return h.run(ctx, supervisor, stats)
}

// open opens all that the supervisor needs, before anything is started.
func (h *host) open(ctx context.Context, getenv func(string) string) error {
	name := h.cfg.ServiceName()
	place, err := rundir.Choose(h.cfg.RunDir, name, getenv, os.Geteuid())
	if err != nil {
		return err
	}
	if h.dir, err = rundir.Open(place); err != nil {
		var running *rundir.RunningError
		if errors.As(err, &running) {
			return fmt.Errorf("cannot run service %s: it %w; try supervisor status, or another --name", name, err)
		}
		return err
	}
	specs, err := listen.ParseSpecs(h.cfg.Listen)
	if err != nil {
		return err
	}
	sockets, err := listen.OpenAll(ctx, specs)
	if errors.Is(err, listen.ErrInUse) && h.dir.Left {
		return fmt.Errorf("%w; service %s left %s: %s", err, name, h.dir.Control(), rundir.Orphans)
	}
	if err != nil {
		return err
	}
	if h.listeners, err = holdListeners(sockets, h.log); err != nil {
		return err
	}
	if h.queues, err = watchQueues(h.listeners.all, h.cfg, h.log, h.listeners.look); err != nil {
		return err
	}
	if h.control, err = h.dir.Listen(); err != nil {
		return err
	}
	if address := h.cfg.MetricsAddress(); address != "" {
		if h.scrape, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return fmt.Errorf("cannot serve metrics: %w", err)
		}
		h.log.Info("serves metrics", "address", h.scrape.Addr().String())
	}
	return nil
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
	errs = append(errs, h.queues.close(), h.listeners.close())
	if h.dir != nil {
		errs = append(errs, h.dir.Close())
	}
	return errors.Join(errs...)
}

// supervise makes the supervisor and its metrics; nothing is started yet.
func (h *host) supervise() (*upgrade.Supervisor, *metrics.Metrics, error) {
	version := ownVersion()
	var supervisor *upgrade.Supervisor
	stats := metrics.New(metrics.Build{Version: version.Version, Revision: version.Revision, Go: version.Go}, metrics.Sources{
		Status:    func(ctx context.Context) (upgrade.Status, error) { return supervisor.Status(ctx) },
		Queues:    h.queues.Figures,
		Namespace: h.queues.namespace,
	})
	supervisor, err := upgrade.New(upgrade.Config{
		Service:   h.cfg.ServiceName(),
		Program:   h.cfg.UpgradeProgram(),
		Policy:    h.cfg.Policy(),
		Watcher:   newWatcher(h.cfg, h.listeners.audit, h.queues.monitor, stats.Decided, h.log),
		Logger:    h.log,
		Reported:  stats.Reported,
		Listeners: h.listeners.status(),
		Launcher: upgrade.NewLauncher(upgrade.LauncherConfig{
			Service:       h.cfg.ServiceName(),
			Listeners:     h.listeners.all,
			Close:         h.stopListening,
			Prepare:       h.listeners.audit,
			OwnLine:       h.own.wrote,
			RunDir:        h.dir.Path,
			BaseEnv:       baseEnvironment(h.cfg.EnvClear),
			Stdout:        os.Stdout,
			Stderr:        os.Stderr,
			StatsInterval: statsInterval(len(h.listeners.all)),
			Counted:       h.counted,
			Logger:        h.log,
		}),
	})
	return supervisor, stats, err
}

// counted takes what a generation reports; nil is its end, after which the
// listeners may want to be seen to.
func (h *host) counted(generation int, stats []fdpass.ListenerStats) {
	h.queues.counted(generation, stats)
	if stats == nil {
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
func (h *host) run(ctx context.Context, supervisor *upgrade.Supervisor, stats *metrics.Metrics) error {
	version := ownVersion()
	version.Service, version.PID = h.cfg.ServiceName(), os.Getpid()
	scrapes := stats.Handler(h.log)
	server := control.NewServer(control.ServerConfig{
		Supervisor: observed{supervisor, h.queues.Figures}, Version: version, Metrics: scrapes, Logger: h.log,
		Queue: &queue.View{Service: version.Service, Listeners: h.listeners.status(), Source: h.queues},
	})
	h.log.Info("starts", "service", version.Service, "pid", version.PID, "version", version.Version, "control", h.dir.Control())

	group, ended := new(errgroup.Group), make(chan struct{})
	var verdict error
	group.Go(func() error {
		defer close(ended)
		verdict = supervisor.Run(ctx)
		return nil
	})
	group.Go(func() error { return h.logged(server.Serve(h.control)) })
	group.Go(func() error {
		h.listeners.watch(auditInterval, ended)
		return nil
	})
	group.Go(func() error {
		heedSignals(h.signals, supervisor, h.log, ended)
		return nil
	})
	group.Go(func() error {
		<-ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		server.Shutdown(ctx)
		return nil
	})
	if h.scrape != nil {
		group.Go(func() error { return h.logged(serveMetrics(h.scrape, scrapes, ended)) })
	}
	err := group.Wait()
	if verdict != nil {
		err = errors.Join(fmt.Errorf("cannot run service %s: %w", version.Service, verdict), err)
	}
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

// serveMetrics answers GET /metrics over TCP until ended is closed.
func serveMetrics(l net.Listener, scrapes http.Handler, ended <-chan struct{}) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrapes)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn),
	}
	group := new(errgroup.Group)
	group.Go(func() error {
		<-ended
		return server.Close() // a scrape can be repeated elsewhere
	})
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("cannot serve metrics: %w", err)
		}
		return nil
	})
	return group.Wait()
}
