package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

// hookGrace is how long a cleanup hook has to notice that its time is up.
const hookGrace = time.Second

// A hook is a cleanup hook.
type hook struct {
	name string
	f    func(context.Context) error
}

// OnCleanup has f called at the end of Run, when no connection is left; hooks
// run in the reverse order of their registration. f's context ends after
// [Config].CleanupTimeout; a hook that goes on regardless is left behind. A
// supervisor kills the process if all the hooks together take longer than twice
// its --stop-grace (5 s by default).
func (s *Service) OnCleanup(name string, f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook{name, f})
}

// Run serves what was registered and says ready. It returns when the service
// has ended, in three phases: stop intake (nothing more is accepted), drain
// (open connections come to their end, or to the deadline), cleanup (the hooks).
// The end is asked for by the supervisor, by SIGTERM or SIGINT, which Run
// catches, or by the end of ctx. A signal often reaches the supervisor too, as
// from a terminal or from systemd: so under a supervisor a signal or the end of
// ctx is first given half a second in which the supervisor may say how to
// drain, and the service accepts meanwhile. A drain that the supervisor orders
// begins at once.
//
// The error is nil after an ordinary end. Otherwise it is that of a server that
// could not go on accepting, for which the service drains too, or of a cleanup
// hook. Run is called once.
func (s *Service) Run(ctx context.Context) error {
	servers, err := s.begin()
	if err != nil {
		return err
	}
	stop := s.watch(ctx)
	var serving sync.WaitGroup
	failures := make(chan error, len(servers))
	for _, v := range servers {
		serving.Go(func() { s.serve(v, failures) })
	}
	if err := s.Ready(); err != nil {
		s.log.Warn("not everybody heard that this generation is ready", "err", err)
	}
	<-s.Draining()
	s.stopIntake()
	cut := s.awaitConnections()
	s.awaitServers(&serving)
	s.reportDrained(cut)
	err = s.cleanup()
	stop()
	close(failures)
	for failure := range failures {
		err = errors.Join(failure, err)
	}
	return errors.Join(err, s.abandon())
}

// begin fixes what was registered.
func (s *Service) begin() ([]server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return nil, errors.New("cannot run the service: Run was called before")
	}
	s.running = true
	for _, e := range s.endpoints {
		if !e.used {
			s.log.Warn("listener is not served: its clients will wait for ever", "listener", e.name)
		}
	}
	return s.servers, nil
}

// serve runs one server. One that ends before the drain ends the service.
func (s *Service) serve(v server, failures chan<- error) {
	err := v.run()
	if isClosed(s.Draining()) {
		return // its listener was closed for it
	}
	err = fmt.Errorf("cannot serve listener %q any more: %w", v.name, err)
	failures <- err
	s.Fail(err)
	s.solo.settle(nil)
	s.drainMyself("failure")
}

// watch begins the drain when a signal comes or ctx ends. A second SIGINT, from
// somebody at the terminal, cuts the drain short when the program runs alone.
// SIGTERM does not: the process manager may well send one to a service that its
// supervisor already drains. stop ends the watch and joins it.
func (s *Service) watch(ctx context.Context) (stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		done := ctx.Done()
		for {
			select {
			case <-done:
				done = nil
				s.drainAsked("context", ended)
			case sig := <-signals:
				if sig == os.Interrupt && !s.Supervised() && isClosed(s.Draining()) {
					s.log.Warn("interrupted again: closing open connections")
					s.drain.amend(0, false)
				}
				s.drainAsked(sig.String(), ended)
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		watching.Wait()
		signal.Stop(signals)
	}
}

// awaitServers waits for the handlers of Serve, which may do something after
// they closed their connection, until the deadline and at least hookGrace.
func (s *Service) awaitServers(serving *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { // joined below, or left behind with a handler that never ends
		serving.Wait()
		close(done)
	}()
	s.awaitOrDeadline(done)
	select {
	case <-done:
	case <-time.After(hookGrace):
		s.log.Warn("handlers did not end after their connections were closed")
	}
}

// cleanup is the third phase.
func (s *Service) cleanup() error {
	s.mu.Lock()
	hooks := s.hooks
	s.mu.Unlock()
	var failed error
	for i := len(hooks) - 1; i >= 0; i-- {
		if err := s.runHook(hooks[i]); err != nil {
			s.log.Error("cleanup failed", "hook", hooks[i].name, "err", err)
			failed = errors.Join(failed, fmt.Errorf("cannot clean up %s: %w", hooks[i].name, err))
		}
	}
	return failed
}

func (s *Service) runHook(h hook) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.CleanupTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.f(ctx) }() // joined below, or left behind
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(hookGrace):
		return fmt.Errorf("it did not return within %v", s.cfg.CleanupTimeout)
	}
}

// pause shuts every gate; the channels close as the calls inside have left.
func (s *Service) pause() []<-chan struct{} {
	quiet := make([]<-chan struct{}, len(s.endpoints))
	for i, e := range s.endpoints {
		quiet[i] = e.pause()
	}
	return quiet
}

func (s *Service) resume() {
	for _, e := range s.endpoints {
		e.resume()
	}
}

func (s *Service) isUsed(e *endpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.used
}

func (s *Service) stats() fdpass.Stats {
	stats := fdpass.Stats{Listeners: make([]fdpass.ListenerStats, len(s.endpoints))}
	for i, e := range s.endpoints {
		stats.Listeners[i] = e.stats()
	}
	return stats
}

// accepted counts what all listeners have accepted so far.
func (s *Service) accepted() uint64 {
	var n uint64
	for _, e := range s.endpoints {
		n += e.counts().accepted
	}
	return n
}
