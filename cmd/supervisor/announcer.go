package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

const (
	// announceEvery is how often the line is told anew while something passes.
	announceEvery = time.Second
	// extension is how much time the service manager is asked for, from the
	// moment on, while a start, a reload or a stop goes on as it should. It is
	// asked anew after a third of it.
	extension = 30 * time.Second
	// barrierTimeout is how long the service manager may take to have read what
	// it was told.
	barrierTimeout = 2 * time.Second
	// maxUntold is how many notices may wait for a service manager that does not
	// read; beyond it, lines that were followed by another are left out.
	maxUntold = 64
)

// announcer tells the service manager what goes on. What there is to tell is
// noted at once and sent in that order by the goroutine of run, so that nobody
// waits for a service manager that does not read. The methods may be called
// concurrently, and do nothing if there is nobody to tell.
type announcer struct {
	notifier *systemd.Notifier
	queues   func() []health.Figures
	grace    time.Duration // how much longer than its drain a generation may take to end
	log      *slog.Logger
	wake     chan struct{}
	failed   atomic.Bool // the latest message could not be sent

	mu       sync.Mutex
	status   upgrade.Status
	known    bool // status has been set
	bulletin bulletin
	extended time.Time // when more time was asked for; zero: not yet for this
	untold   []notice

	sending sync.Mutex // held from the taking of a notice until it is sent
	line    string     // the last that was sent
}

// A notice is something to tell.
type notice struct {
	news   news
	status upgrade.Status
	last   string // the line, instead of that of status
}

// newAnnouncer returns an announcer; serving tells that the service manager knows
// already that the service is ready.
func newAnnouncer(n *systemd.Notifier, queues func() []health.Figures, grace time.Duration, serving bool, log *slog.Logger) *announcer {
	return &announcer{
		notifier: n, queues: queues, grace: grace, log: log,
		wake: make(chan struct{}, 1), bulletin: bulletin{ready: serving},
	}
}

// changed takes a new status. It is called by the goroutine that decides, which
// shows that this one does. It does not block.
func (a *announcer) changed(st upgrade.Status) {
	a.note(func(now time.Time) {
		a.status, a.known = st, true
		a.tell(a.bulletin.next(st))
		a.extend(now)
	})
}

// hangup tells that an upgrade was asked for by signal, or that all of these are
// over: the service manager, which may have sent the signal, waits to hear of
// both, also where the upgrade is refused, and of the first after each signal.
func (a *announcer) hangup(begun bool) {
	a.note(func(now time.Time) {
		a.bulletin.hangup = begun
		if !a.known { // it is told with the first status
			return
		}
		a.tell(a.bulletin.hungUp(a.status))
		a.extend(now)
	})
}

// ended tells why the supervisor ends, if it does not because it was told to.
func (a *announcer) ended(failure error) {
	if failure == nil {
		return
	}
	a.note(func(time.Time) {
		a.untold = append(a.untold, notice{news: newsLine, last: failure.Error()})
	})
}

// note changes what is known and noted.
func (a *announcer) note(change func(now time.Time)) {
	if !a.notifier.On() {
		return
	}
	a.mu.Lock()
	change(time.Now())
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// tell notes news of the present status.
func (a *announcer) tell(n news) {
	if n != newsLine {
		a.extended = time.Time{} // it is for what the service manager waits for from now on
	}
	if last := len(a.untold) - 1; last >= maxUntold && a.untold[last].news == newsLine {
		a.untold = a.untold[:last]
	}
	a.untold = append(a.untold, notice{news: n, status: a.status})
}

// extend notes that more time is needed, if it is and that was not said lately.
func (a *announcer) extend(now time.Time) {
	if now.Sub(a.extended) > extension/3 && a.bulletin.needsTime(a.status, now, a.grace) {
		a.extended = now
		a.untold = append(a.untold, notice{news: newsMoreTime})
	}
}

// sendAll sends what was noted, in its order, and reports whether that was all
// when ctx was done. Who else sends is waited for, one notice at a time: while the
// service manager does not read, all of them take long.
func (a *announcer) sendAll(ctx context.Context) bool {
	for ctx.Err() == nil {
		if !a.sendNext(ctx) {
			return true
		}
	}
	return false
}

// sendNext sends the first of what was noted; false if there is nothing.
func (a *announcer) sendNext(ctx context.Context) bool {
	a.sending.Lock()
	defer a.sending.Unlock()
	if ctx.Err() != nil {
		return true // as far as is known
	}
	n, ok := a.next()
	if ok {
		a.sent(n, a.send(n))
	}
	return ok
}

// sent logs, once, that the service manager cannot be told. What it waits for is
// told again if it did not read; a line is not worth it.
func (a *announcer) sent(n notice, err error) {
	a.check(err)
	if errors.Is(err, os.ErrDeadlineExceeded) && n.news != newsLine && n.news != newsMoreTime {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.untold = slices.Insert(a.untold, 0, n)
	}
}

// next takes the first of what was noted.
func (a *announcer) next() (n notice, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.untold) == 0 {
		return notice{}, false
	}
	n = a.untold[0]
	a.untold = a.untold[1:]
	return n, true
}

// send sends one notice, unless it is a line that was told already.
func (a *announcer) send(n notice) error {
	if n.news == newsMoreTime {
		return a.notifier.ExtendTimeout(extension)
	}
	line := n.last
	if line == "" {
		line = statusLine(n.status, a.queues(), time.Now())
	}
	same := line == a.line
	a.line = line
	switch {
	case n.news == newsReady:
		return a.notifier.Ready(line)
	case n.news == newsReloading:
		return a.notifier.Reloading(line)
	case n.news == newsStopping:
		return a.notifier.Stopping(line)
	case same:
		return nil
	}
	return a.notifier.Status(line)
}

// check logs, once, that the service manager cannot be told.
func (a *announcer) check(err error) {
	if failed := err != nil; a.failed.Swap(failed) != failed && failed {
		a.log.Warn("cannot notify the service manager", "error", err)
	}
}

// run sends what is noted; while something passes it tells the line anew each
// second, and asks for more time as long as alive says that the goroutine that
// decides does so. It keeps the watchdog from biting, also by alive. When ended
// is closed it returns as soon as all that was told has been read.
func (a *announcer) run(ended <-chan struct{}, alive func(context.Context) error) {
	if !a.notifier.On() {
		return
	}
	var watching sync.WaitGroup
	sending, stop := context.WithCancel(context.Background())
	watching.Go(func() {
		<-ended
		stop()
	})
	if interval, ok := a.notifier.WatchdogInterval(); ok {
		watching.Go(func() { a.feed(interval, ended, alive) })
	}
	timer := time.NewTimer(announceEvery)
	defer timer.Stop()
	for {
		a.sendAll(sending)
		var again <-chan time.Time // never, while nothing passes
		if a.passing() {
			timer.Reset(announceEvery)
			again = timer.C
		}
		select {
		case <-ended:
			watching.Wait()
			a.settle()
			return
		case <-again:
			a.tellAgain(alive)
		case <-a.wake:
		}
	}
}

func (a *announcer) passing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known && passing(a.status)
}

// tellAgain notes the line anew, and that more time is needed.
func (a *announcer) tellAgain(alive func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), announceEvery)
	defer cancel()
	stalled := alive(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell(newsLine)
	if stalled == nil {
		a.extend(time.Now())
	}
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
		switch {
		case err == nil:
			a.check(a.notifier.Watchdog())
		case errors.Is(err, upgrade.ErrEnded):
			return
		default:
			a.log.Error("the supervisor does not get on; the watchdog is not told otherwise", "error", err)
		}
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

// rest sends all that was noted, and says why another supervisor cannot take
// the place of this one now; "" if it can. The next one takes it that the
// service manager knows the service as ready, and waits for no word.
func (a *announcer) rest() (objection string) {
	if !a.notifier.On() {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), barrierTimeout)
	defer cancel()
	all := a.sendAll(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !all:
		return "the service manager does not read what it is told"
	case a.bulletin.hangup:
		return "an upgrade was asked for by SIGHUP"
	case a.known && !a.bulletin.ready:
		return "no generation has become active since the start of the supervisor"
	}
	return ""
}

// settle waits until the service manager has read all that it was told, or it
// could not tell from whom it came (sd_notify(3), BARRIER=1).
func (a *announcer) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), barrierTimeout)
	defer cancel()
	a.sendAll(ctx)
	if err := barrier(a.notifier); err != nil {
		a.check(fmt.Errorf("before the end: %w", err))
	}
}

func barrier(n *systemd.Notifier) error {
	ctx, cancel := context.WithTimeout(context.Background(), barrierTimeout)
	defer cancel()
	return n.Barrier(ctx)
}
