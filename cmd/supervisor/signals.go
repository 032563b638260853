package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// catchSignals takes the signals that heedSignals heeds, from now on. PIPE is
// among them to be forgotten, so that a log that nobody reads any more does not
// end the service; unlike an ignored signal it is not inherited by programs.
func catchSignals() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	return signals
}

// heedSignals does what signals ask for until ended is closed: TERM and INT
// stop the supervisor, the second of them at once, and HUP upgrades.
func heedSignals(signals <-chan os.Signal, s control.Supervisor, log *slog.Logger, ended <-chan struct{}) {
	var asked sync.WaitGroup
	defer asked.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stops := 0
	for {
		select {
		case <-ended:
			return
		case sig := <-signals:
			switch sig {
			case syscall.SIGPIPE:
			case syscall.SIGHUP:
				asked.Go(func() { upgradeOnSignal(ctx, s, log) })
			default:
				now := stops > 0
				stops++
				log.Info("is told to stop", "signal", sig.String(), "at_once", now)
				asked.Go(func() { _ = s.Stop(ctx, now) }) // its end is seen by ended
			}
		}
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
