package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

const (
	// announceEvery is how often the line is told anew while something is under
	// way that has an end.
	announceEvery = time.Second
	// extension is by how much the service manager is asked to wait longer than
	// it was going to, while a start or a stop goes on as it should.
	extension = 30 * time.Second
	// barrierTimeout is how long the service manager may take to have read what
	// it was told.
	barrierTimeout = 2 * time.Second
)

// announcer tells the service manager what goes on. Its methods may be called
// concurrently, and do nothing if there is nobody to tell.
type announcer struct {
	notifier *systemd.Notifier
	queues   func() []health.Figures
	log      *slog.Logger
	wake     chan struct{}

	mu       sync.Mutex
	status   upgrade.Status
	known    bool // status has been set
	bulletin bulletin
	failed   bool // the latest message could not be sent
}

// newAnnouncer returns an announcer; serving tells that the service manager knows
// already that the service is ready.
func newAnnouncer(n *systemd.Notifier, queues func() []health.Figures, serving bool, log *slog.Logger) *announcer {
	return &announcer{notifier: n, queues: queues, log: log, wake: make(chan struct{}, 1), bulletin: bulletin{ready: serving}}
}

// changed takes a new status. It does not block.
func (a *announcer) changed(st upgrade.Status) {
	if !a.notifier.On() {
		return
	}
	a.mu.Lock()
	a.status, a.known = st, true
	a.tell(time.Now())
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// hangup tells that an upgrade was asked for by signal, or that all of these are
// over: the service manager, which may have sent the signal, waits to hear of
// both, also where the upgrade is refused.
func (a *announcer) hangup(begun bool) {
	if !a.notifier.On() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bulletin.hangup = begun
	if begun && a.bulletin.ready && !a.bulletin.stopping {
		a.bulletin.reloading = true
		a.sent(a.notifier.Reloading(a.bulletin.line))
		return
	}
	a.tell(time.Now())
}

// tell sends what is new.
func (a *announcer) tell(now time.Time) {
	if !a.known {
		return
	}
	line := statusLine(a.status, a.queues(), now)
	switch a.bulletin.next(a.status, line) {
	case newsLine:
		a.sent(a.notifier.Status(line))
	case newsReady:
		a.sent(a.notifier.Ready(line))
	case newsReloading:
		a.sent(a.notifier.Reloading(line))
	case newsStopping:
		a.sent(a.notifier.Stopping(line))
	}
}

// sent logs, once, that the service manager cannot be told.
func (a *announcer) sent(err error) {
	if err != nil && !a.failed {
		a.log.Warn("cannot notify the service manager", "error", err)
	}
	a.failed = err != nil
}

// run tells the line anew while time matters, asks for more time while a start
// or a stop goes on, and keeps the watchdog from biting as long as alive says
// so, until ended is closed. Then all that was told has been read.
func (a *announcer) run(ended <-chan struct{}, alive func(context.Context) error) {
	if !a.notifier.On() {
		return
	}
	var watching sync.WaitGroup
	if interval, ok := a.notifier.WatchdogInterval(); ok {
		watching.Go(func() { a.feed(interval, ended, alive) })
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	var extended time.Time
	for {
		select {
		case <-ended:
			watching.Wait()
			a.settle()
			return
		case <-tick.C:
		case <-a.wake:
		}
		a.mu.Lock()
		a.tell(time.Now())
		if a.unfinished() && time.Since(extended) > extension/3 {
			extended = time.Now()
			a.sent(a.notifier.ExtendTimeout(extension))
		}
		a.mu.Unlock()
	}
}

// unfinished tells that the service manager waits for something that has a time
// limit of the supervisor's own.
func (a *announcer) unfinished() bool {
	return a.known && (!a.bulletin.ready || a.bulletin.stopping || a.bulletin.reloading)
}

// feed tells the watchdog that all is well, which is so only if the goroutine
// that decides has just shown that it does.
func (a *announcer) feed(interval time.Duration, ended <-chan struct{}, alive func(context.Context) error) {
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), interval)
		err := alive(ctx)
		cancel()
		a.mu.Lock()
		switch {
		case err != nil:
			a.log.Error("the supervisor does not get on; the watchdog is not told otherwise", "error", err)
		default:
			a.sent(a.notifier.Watchdog())
		}
		a.mu.Unlock()
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

// settle waits until the service manager has read all that it was told, or it
// could not tell from whom it came (sd_notify(3), BARRIER=1).
func (a *announcer) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), barrierTimeout)
	defer cancel()
	a.sent(a.notifier.Barrier(ctx))
}
