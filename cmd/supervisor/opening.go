package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

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
	if err := h.checkPaths(h.cfg); err != nil {
		return err
	}
	h.openHistory(getenv)
	h.rendezvous, err = upgrade.OpenRendezvous(upgrade.RendezvousConfig{
		Path: h.dir.Rendezvous(), Service: h.cfg.ServiceName(), Missed: h.origin.missed, Known: h.origin.cookies(),
		StatsInterval: statsInterval(len(h.origin.cookies())), Logger: h.log,
	})
	if err != nil {
		return err
	}
	h.origin.gather(ctx, h.rendezvous, *h.said(h.cfg, h.cfg.Listen), h.log)
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
	if h.queues, err = watchQueues(h.listeners.all(), h.origin.totals(h.log), h.cfg, h.log, h.listeners.look); err != nil {
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
		h.control, err = h.inheritControl(from.Control)
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

// inheritControl takes the descriptor of the control socket of the program that
// this process executed before.
func (h *host) inheritControl(fd int) (*rundir.Socket, error) {
	l, err := listenerOf(fd)
	if err != nil {
		return nil, err
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("descriptor %d is not the control socket but listens at %s", fd, l.Addr()), l.Close())
	}
	return h.dir.Socket(socket), nil
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
	for _, l := range h.listeners.list() {
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
	shut := func(l io.Closer) {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if h.scrape != nil {
		shut(h.scrape)
	}
	if h.control != nil {
		shut(h.control)
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
