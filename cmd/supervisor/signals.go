package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// doubling is how close together two signals to stop are one: a program such as
// timeout(1) signals the process and its group, and a terminal all of the group.
const doubling = 500 * time.Millisecond

// catchSignals takes the signals that heedSignals heeds, from now on. PIPE is
// among them to be forgotten, so that a log that nobody reads any more does not
// end the service; unlike an ignored signal it is not inherited by programs.
func catchSignals() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, caught()...)
	return signals
}

func caught() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE}
}

// oneOf takes a signal that has come and means something; nil if there is none.
func oneOf(signals <-chan os.Signal) os.Signal {
	for {
		select {
		case sig := <-signals:
			if sig != syscall.SIGPIPE {
				return sig
			}
		default:
			return nil
		}
	}
}

// stopSignals tells the first signal to stop from a later one that insists.
type stopSignals struct{ first time.Time }

// heed takes one more signal. At most one of the results is true; neither is
// for a signal that doubles the first.
func (s *stopSignals) heed(now time.Time) (stop, atOnce bool) {
	if s.first.IsZero() {
		s.first = now
		return true, false
	}
	return false, now.Sub(s.first) > doubling
}

// heedSignals does what signals ask for until ended is closed: TERM, INT and
// QUIT stop the supervisor, a later one of them at once, and HUP upgrades.
// hangup is told when the first HUP has come, and when all upgrades by HUP are
// over.
func heedSignals(signals <-chan os.Signal, s control.Supervisor, hangup func(begun bool), log *slog.Logger, ended <-chan struct{}) {
	var asked sync.WaitGroup
	defer asked.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stops stopSignals
	upgrades := hangups{log: log, done: make(chan struct{}, 1)}
	upgrades.run = func() {
		asked.Go(func() {
			upgradeOnSignal(ctx, s, log)
			upgrades.done <- struct{}{}
		})
	}
	for {
		select {
		case <-ended:
			return
		case <-upgrades.done:
			upgrades.next()
			if !upgrades.running {
				hangup(false)
			}
		case sig := <-signals:
			switch sig {
			case syscall.SIGPIPE:
			case syscall.SIGHUP:
				hangup(true)
				upgrades.heed()
			default:
				stop, now := stops.heed(time.Now())
				if !stop && !now {
					log.Info("is told to stop twice in a moment; that is once", "signal", sig.String())
					continue
				}
				log.Info("is told to stop", "signal", sig.String(), "at_once", now)
				asked.Go(func() { _ = s.Stop(ctx, now) }) // its end is seen by ended
			}
		}
	}
}

// hangups makes of any number of HUPs during an upgrade by HUP one more, which
// sees what is there to be run after the last of them. It is used by one
// goroutine.
type hangups struct {
	log            *slog.Logger
	run            func()        // starts an upgrade
	done           chan struct{} // gets a value when it has ended
	running, again bool
}

func (h *hangups) heed() {
	switch {
	case !h.running:
		h.running = true
		h.run()
	case !h.again:
		h.again = true
		h.log.Info("an upgrade by SIGHUP is running; one more will follow it")
	}
}

func (h *hangups) next() {
	h.running = false
	if h.again {
		h.again = false
		h.heed()
	}
}

// upgradeOnSignal upgrades; the supervisor logs the steps and the verdict.
func upgradeOnSignal(ctx context.Context, s control.Supervisor, log *slog.Logger) {
	report, err := s.Upgrade(ctx, upgrade.Request{Reason: "SIGHUP"}, nil)
	switch {
	case err != nil:
		log.Error("cannot tell the verdict of the upgrade by SIGHUP", "error", err)
	case report.Verdict != upgrade.Committed:
		log.Error("the upgrade by SIGHUP was not committed", "request", report.Request, "verdict", string(report.Verdict), "reason", report.Reason)
	}
}
