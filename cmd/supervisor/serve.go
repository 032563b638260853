package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/history"
	"example.com/supervisor/cmd/supervisor/internal/metrics"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
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
	settings   *settings
	control    *rundir.Socket
	scrape     net.Listener // nil without metrics over TCP

	supervisor *upgrade.Supervisor
	stats      *metrics.Metrics
	announcer  *announcer
	server     *control.Server
	children   children
	record     *record

	renewing sync.Mutex // held while listeners are opened for an upgrade
	looking  sync.Mutex // held while the queues that are looked at are changed
	// uncontrolled tells that the control socket is gone, and that this has been
	// logged; it is of the goroutine that sees to the run directory.
	uncontrolled bool
	limitsBack   atomic.Bool // the limits of the queues are what they were before
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
	h := &host{cfg: cfg, log: log, own: own, signals: e.signals, settings: newSettings(cfg, e.reread), kept: upgrade.NewKept()}
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

// leaveOthersSocket has the control socket's file stay that has its name in a
// directory that is another one by now.
func (h *host) leaveOthersSocket() {
	h.control.SetUnlinkOnClose(!errors.Is(h.dir.Check(), rundir.ErrGone))
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
		Queue:  &queue.View{Service: version.Service, Listeners: h.listeners.status, Source: h.queues},
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
		h.listeners.watch(auditInterval, ended, h.seeToRunDir)
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
