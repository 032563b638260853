package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
)

// staleAfter is after how long without news a screen says so, at the least.
const staleAfter = 2 * time.Second

// live shows rounds on a screen. It is used by one goroutine.
type live struct {
	screen   *queue.Screen
	interval time.Duration
	stale    time.Duration // after which a picture is old
	history  queue.History
	picture  queue.Picture // nil before the first
	came     time.Time
}

func newLive(screen *queue.Screen, interval time.Duration) *live {
	return &live{screen: screen, interval: interval, stale: max(staleAfter, 4*interval)}
}

// run shows what source has until there is no more, or ctx is done.
func (l *live) run(ctx context.Context, source rounds) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGTSTP)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	pictures, ended := make(chan queue.Picture), make(chan error, 1)
	var taking sync.WaitGroup
	defer taking.Wait()
	defer cancel()
	taking.Go(func() { ended <- source.watch(ctx, l.interval, hand(ctx, pictures)) })

	l.screen.Enter()
	defer l.screen.Leave()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case l.picture = <-pictures:
			l.came = time.Now()
			l.history.Add(l.picture)
		case sig := <-signals:
			if sig == syscall.SIGTSTP {
				l.suspend()
			}
		case <-tick.C:
			if time.Since(l.came) < l.stale {
				continue
			}
		case err := <-ended:
			return err
		}
		l.show()
	}
}

// hand gives pictures away, one at a time.
func hand(ctx context.Context, pictures chan<- queue.Picture) func([]byte, queue.Picture) error {
	return func(_ []byte, p queue.Picture) error {
		select {
		case pictures <- p:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *live) show() {
	if l.picture == nil {
		return
	}
	note := ""
	if age := time.Since(l.came); age >= l.stale {
		note = fmt.Sprintf("no news for %s: what is shown is old", shortly(age))
	}
	l.screen.Show(l.picture, &l.history, note)
}

// suspend stops this process, as Ctrl-Z asks, with the terminal as it was.
func (l *live) suspend() {
	l.screen.Leave()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // we may stop ourselves
	l.screen.Enter()
}
