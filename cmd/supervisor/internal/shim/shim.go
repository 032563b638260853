// Package shim makes a program that does not speak the protocol of
// docs/protocol.md a generation all the same.
//
// A shim is a process between the supervisor and one program. To the supervisor
// it is the generation: it takes the listeners, says ready when the program is,
// passes orders on as the signals that the program understands, counts the
// program's connections from outside, and ends as the program does. It outlives its supervisor, rejoins the next one and gives it the
// listeners back, so that nothing of that depends on the program. The program
// is its child, in the same process group and the same control group.
//
// A program that is spoken to in this way cannot pause. What the shim says of
// itself is what the program can do, and what can be seen of it: it states no
// capability but to tell of open connections.
package shim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/rejoin"
)

// Config says what to run, and how it is spoken to.
type Config struct {
	Protocol protocol.Protocol
	Ready    protocol.Readiness
	Stop     protocol.Schedule
	// Path is the program's file, Command what it is called and its arguments.
	Path    string
	Command []string
	// Written are the addresses of the listeners by name, as the configuration has
	// them.
	Written map[string]string
	// Watchdog is how long the program may be silent; 0: as long as it likes. Grace is
	// how long it has to end when it is aborted for that.
	Watchdog, Grace time.Duration
	// Socket is where a socket may be made on which the program says how it is.
	Socket string
	// Self is the file of this binary.
	Self string
	// Log takes what the shim has to say.
	Log *slog.Logger
}

// shim is owned by the goroutine of run.
type shim struct {
	cfg       Config
	log       *slog.Logger
	welcome   fdpass.Welcome
	listeners []fdpass.Listener // owned

	session   *session // nil while there is no supervisor
	homes     chan rejoin.Home
	searching sync.WaitGroup
	words     chan word
	over      chan struct{} // closed at the end
	program   *program
	counting  *counting // nil: nobody wants counts
	open      []health.Connections
	uncounted bool         // the log has been told why
	pid       atomic.Int64 // of the program
	ready     bool
	failed    string // what went wrong, to be said again to another supervisor
	draining  bool
	sent      int      // steps of the schedule that were taken
	told      int      // how often the program was told to end: by those, and by SIGTERM of somebody else
	orders    []uint64 // to drain, of this session
	step      *time.Timer
	watchdog  watchdog
}

// A word is something that was learned of the program.
type word struct {
	ready    bool
	failed   string // why it cannot do its work
	stopping bool   // it says that it ends
	end      string // why it is to end although nobody has told it to
	fed      bool   // its watchdog is
	barks    string // why its watchdog is to be heeded at once
	limited  bool   // it says how long it may be silent, limit
	limit    time.Duration
}

// Run joins the supervisor, runs the program and returns how it ended. It is
// called once, by a process that does nothing else.
func Run(ctx context.Context, cfg Config) (syscall.WaitStatus, error) {
	conn, err := fdpass.FromEnv()
	if err != nil {
		return 0, fmt.Errorf("cannot stand between a supervisor and %s: %w", cfg.Path, err)
	}
	welcome, listeners, probe, err := fdpass.Accept(conn, fdpass.Hello{Library: library(cfg), Capabilities: capabilities()})
	if err != nil {
		return 0, errors.Join(err, conn.Close())
	}
	if probe >= 0 {
		_ = syscall.Close(probe) // the program does not know of it
	}
	s := &shim{
		cfg: cfg, log: cfg.Log.With("generation", welcome.Generation), welcome: welcome, listeners: listeners,
		watchdog: newWatchdog(cfg.Watchdog), homes: make(chan rejoin.Home), words: make(chan word, 16), over: make(chan struct{}),
	}
	s.session = s.newSession(conn, welcome)
	defer s.close()
	return s.run(ctx)
}

// library is what the supervisor is told of who speaks.
func library(cfg Config) string { return "shim/" + string(cfg.Protocol.Name) }

// capabilities are what the shim says that it can.
func capabilities() []string { return []string{fdpass.CanActive} }

func (s *shim) run(ctx context.Context) (syscall.WaitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 32)
	signal.Notify(signals)
	defer signal.Stop(signals)
	var err error
	if s.program, err = s.start(); err != nil {
		s.session.tell(fdpass.Failed{Reason: err.Error()})
		return 0, err
	}
	defer s.program.release()
	defer s.watchdog.timer.Stop()
	s.startCounting(ctx)
	defer s.counting.stop()
	s.step = time.NewTimer(0)
	if !s.step.Stop() {
		<-s.step.C
	}
	for {
		select {
		case status := <-s.program.exited:
			s.hasEnded(status)
			return status, nil
		case w := <-s.words:
			s.heard(w)
		case m, ok := <-s.messages():
			if ok {
				s.obey(m)
			} else {
				s.lostSupervisor(ctx)
			}
		case next := <-s.homes:
			s.rejoined(next)
		case sig := <-signals:
			s.pass(sig.(syscall.Signal))
		case seen := <-s.counting.looks():
			s.counted(seen)
		case <-s.step.C:
			s.nextStep()
		case <-s.watchdog.timer.C:
			s.starved()
		}
	}
}

// heard takes what was learned of the program.
func (s *shim) heard(w word) {
	switch {
	case w.end != "":
		s.log.Info("draining", "asked", w.end)
		s.drain()
	case w.stopping && s.draining: // as it was told
	case w.stopping:
		s.heard(word{failed: "says that it is stopping"})
	case w.failed != "":
		s.failed = w.failed
		s.log.Warn("the program fails", "reason", w.failed)
		s.say(fdpass.Failed{Reason: w.failed})
	case w.ready && !s.ready:
		s.becomeReady()
	case w.limited:
		s.watchdog.limit = w.limit
		s.feed()
	case w.fed:
		s.feed()
	case w.barks != "":
		s.bark(w.barks)
	}
}

// obey does what the supervisor says.
func (s *shim) obey(m fdpass.Message) {
	switch m := m.(type) {
	case fdpass.Drain:
		s.orders = append(s.orders, m.ID)
		s.drain()
	case fdpass.Error:
		s.log.Warn("the supervisor reports an error", "reason", m.Reason)
	default:
		s.say(fdpass.Error{Reason: "a program that is spoken to by " + string(s.cfg.Protocol.Name) + " can only be told to drain"})
	}
}

// drain begins to tell the program to end, once its connections have been looked at
// once more: of one that dies of it there is nothing to be counted afterwards.
func (s *shim) drain() {
	if s.draining {
		return
	}
	s.draining = true
	s.feed()
	if !s.counting.hasten() {
		s.nextStep()
		return
	}
	s.step.Reset(lookFirst)
}

// nextStep takes the next step of the schedule.
func (s *shim) nextStep() {
	if s.sent == len(s.cfg.Stop) {
		return
	}
	step := s.cfg.Stop[s.sent]
	s.sent++
	s.told++
	s.program.signal(step.Signal)
	if s.sent < len(s.cfg.Stop) {
		s.step.Reset(step.Wait)
	}
}

// pass hands a signal on that somebody has sent to the shim. SIGCHLD is of the
// program's end, SIGURG of the Go runtime, and SIGPIPE of a write of the shim's.
func (s *shim) pass(sig syscall.Signal) {
	switch sig {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE:
		return
	case syscall.SIGTERM:
		s.told++
	}
	s.program.signal(sig)
}

// hasEnded answers the orders to drain if the program ended as it was told. One that
// had to be told twice has cut what it had open when it was last looked at.
func (s *shim) hasEnded(status syscall.WaitStatus) {
	if !s.draining || !status.Exited() || status.ExitStatus() != 0 || s.session == nil {
		return
	}
	answer := fdpass.Drained{}
	if s.told > 1 {
		answer.Cut, answer.Unknown = s.left()
	}
	for _, id := range s.orders {
		answer.ID = id
		s.session.tell(answer)
	}
}

// say tells the supervisor, if there is one.
func (s *shim) say(m fdpass.Message) {
	if s.session != nil {
		s.session.tell(m)
	}
}

// tellSelf hands a word to the goroutine of run, as long as there is one.
func (s *shim) tellSelf(w word) {
	select {
	case s.words <- w:
	case <-s.over:
	}
}

// close gives up all that the shim holds.
func (s *shim) close() {
	close(s.over)
	s.searching.Wait()
	if s.session != nil {
		s.session.close()
	}
	for _, l := range s.listeners {
		_ = syscall.Close(l.FD)
	}
}
