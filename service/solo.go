package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/internal/listen"
)

const (
	// lastWords is how long a process that was started by an upgrade, and has
	// failed, has for the reason; it has mostly been said before.
	lastWords = 100 * time.Millisecond
	// firstWords is the same for one that has said ready to tableflip: what it
	// says on the line, it has said before.
	firstWords = 5 * time.Second
)

// A solo is what a service without a supervisor has instead: systemd, if that
// started it, and upgrades of itself.
//
// In an upgrade there are two processes. The new one accepts nothing before the
// old one has told it to serve, so that one that fails takes no connection with
// it; the old one leaves when it has said so. Who of the two removes the files of
// Unix sockets, empties the queues in the end and speaks to systemd is the same
// question: see last.
type solo struct {
	service   *Service
	systemd   notifier
	unit      bool             // it is a unit of systemd
	activated bool             // its listeners come from socket units
	upgrader  *upgrader        // nil: it cannot upgrade itself
	before    *line            // to the process before; nil if no upgrade started this one
	spare     []*listen.Socket // inherited, and of no use to this release
	hangups   chan os.Signal   // nil: it does not upgrade itself

	upgrading sync.Mutex     // held while an upgrade is under way
	running   sync.WaitGroup // what close ends
	waits     chan struct{}  // closed when it has said ready to the process before
	serves    chan struct{}  // closed when it is the process that serves
	replaced  chan struct{}  // closed when another one is
	heir      int            // which one that is; set before replaced is closed
	life      context.Context
	end       context.CancelFunc // of life; called by close
}

// newSolo finds out by the environment, of which it removes what it understood,
// how this process was started.
func newSolo(s *Service) (*solo, error) {
	a := &solo{
		service: s, waits: make(chan struct{}), serves: make(chan struct{}),
		replaced: make(chan struct{}),
	}
	a.life, a.end = context.WithCancel(context.Background())
	var err error
	if a.systemd, err = takeNotifier(); err != nil {
		return nil, err
	}
	a.unit = a.systemd.on() || os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid())
	if err := a.findUpgrader(); err != nil {
		return nil, err
	}
	if a.before == nil {
		close(a.serves)
	}
	return a, nil
}

// findUpgrader also takes the line to the process before.
func (a *solo) findUpgrader() (err error) {
	cfg := a.service.cfg
	started := startedByUpgrade()
	if cfg.WithoutUpgrade && !started {
		return nil
	}
	a.upgrader, a.before, err = newUpgrader(started, cfg.UpgradeTimeout)
	switch {
	case err != nil && started:
		return fmt.Errorf("cannot take over from the process before: %w", err)
	case err != nil:
		a.service.log.Warn("this program does not upgrade itself on SIGHUP", "err", err)
	case !cfg.WithoutUpgrade:
		a.hangups = make(chan os.Signal, 8)
		signal.Notify(a.hangups, syscall.SIGHUP)
	}
	return nil
}

// last reports whether nobody else serves, now or after this process: then it
// empties the queues in the end. A service with a supervisor has no solo.
func (a *solo) last() bool { return a == nil || isClosed(a.serves) && !isClosed(a.replaced) }

// sayReady tells systemd, or the process before, which is then to answer.
func (a *solo) sayReady() error {
	if a.before == nil {
		err := errors.Join(a.upgraderReady(), writePIDFile(a.service.cfg.PIDFile, os.Getpid()))
		a.notify(a.systemd.send("READY=1"))
		a.attend()
		return err
	}
	var err error
	if !a.service.drain.unlessBegun(func() {
		err = errors.Join(a.before.say(word{Ready: os.Getpid()}), a.upgraderReady())
		close(a.waits)
	}) {
		return errors.New("this process was told to end before it was ready; the one before serves on")
	}
	a.running.Go(a.awaitTurn) // joined by close
	return err
}

func (a *solo) upgraderReady() error {
	if a.upgrader == nil {
		return nil
	}
	return a.upgrader.ready()
}

// awaitTurn waits for the word to serve. The end of the line without it is the
// end of the process before: one that does not want this process kills it.
func (a *solo) awaitTurn() {
	w, err := a.before.hear()
	if a.life.Err() != nil {
		return
	}
	if err != nil || !w.Serve {
		a.service.log.Warn("the process before ended without a word; serving", "err", err)
	}
	close(a.serves)
	a.service.drain.unlessBegun(a.service.resume)
	a.service.log.Info("serving in place of the process before", "pid", os.Getpid())
	for _, s := range a.spare {
		if err := s.Close(); err != nil {
			a.service.log.Warn("cannot close a listener that this release does not have", "listener", s.Name, "err", err)
		}
	}
	a.attend()
}

// attend begins what the process that serves does on its own.
func (a *solo) attend() {
	a.running.Go(a.follow) // joined by close
	if a.hangups != nil {
		a.running.Go(a.heed) // joined by close
	}
}

// follow becomes, once the process before has ended, the process that others know:
// by the PID file, and systemd by its watchdog.
func (a *solo) follow() {
	if a.before != nil {
		a.upgrader.awaitParent(a.life)
		if a.life.Err() != nil {
			return
		}
		if err := writePIDFile(a.service.cfg.PIDFile, os.Getpid()); err != nil { // it has mostly been done
			a.service.log.Warn("the PID file is not right", "err", err)
		}
	}
	if a.systemd.watchdog > 0 {
		a.beat()
	}
}

// heed upgrades at each SIGHUP, one at a time.
func (a *solo) heed() {
	for {
		select {
		case <-a.life.Done():
			return
		case <-a.hangups:
		}
		if !a.upgrading.TryLock() {
			a.service.log.Warn("SIGHUP changes nothing: an upgrade is under way")
			continue
		}
		a.running.Go(func() { // joined by close
			a.tell(a.upgrade())
		})
	}
}

// upgrade has another process serve, which it returns. It unlocks upgrading.
func (a *solo) upgrade() (pid int, err error) {
	defer a.upgrading.Unlock()
	a.service.log.Info("upgrading")
	a.notify(a.systemd.reloading())
	pid, err = a.replace()
	if err != nil && a.last() && !isClosed(a.service.Draining()) {
		a.notify(a.systemd.kept(err))
	}
	return pid, err
}

// tell logs how an upgrade went, and drains after one that succeeded.
func (a *solo) tell(pid int, err error) {
	if err != nil {
		a.service.log.Error("the upgrade failed; serving on", "err", err)
		return
	}
	a.service.log.Info("upgraded", "pid", pid)
	a.service.drainMyself("upgrade")
}

// replace returns the process that serves now. It fails as long as this one can
// go on.
func (a *solo) replace() (pid int, err error) {
	if err := a.mayUpgrade(); err != nil {
		return 0, err
	}
	l, other, err := newLine()
	if err != nil {
		return 0, err
	}
	defer l.close()
	pid, err = a.begin(l, other)
	if err != nil {
		return 0, err
	}
	if err := l.say(word{Serve: true}); err != nil {
		return 0, fmt.Errorf("process %d was ready and has ended; no further upgrade is possible: %w", pid, err)
	}
	a.heir = pid
	close(a.replaced)
	a.notify(a.systemd.replaced(pid))
	return pid, nil
}

// mayUpgrade reports why an upgrade would be the end of the service.
func (a *solo) mayUpgrade() error {
	switch {
	case isClosed(a.replaced):
		return errors.New("another process has replaced this one")
	case isClosed(a.service.Draining()):
		return errors.New("this process drains")
	case os.Getpid() == 1:
		return errors.New("this is process 1 of its container, which ends with it: start the container anew, or run the program under supervisor")
	case a.unit && a.service.cfg.PIDFile == "": // see leavePIDFile
		return errors.New("systemd would end the unit with this process: write PIDFile= in the [Service] section of its unit, and have Config.PIDFile name the same file")
	}
	return nil
}

// begin starts the next process and returns when it is ready to be told to
// serve. It takes other.
func (a *solo) begin(l *line, other *os.File) (pid int, err error) {
	defer other.Close()
	e, err := a.estate()
	if err != nil {
		return 0, err
	}
	defer e.close()
	var talking sync.WaitGroup
	var said word
	var deaf error
	talking.Go(func() {
		if deaf = l.give(e); deaf == nil {
			said, deaf = l.hear()
		}
	})
	err = a.upgrader.upgrade(other)
	wait := firstWords
	if err != nil {
		wait = lastWords
	}
	_ = l.conn.SetDeadline(time.Now().Add(wait))
	talking.Wait()
	_ = l.conn.SetDeadline(time.Time{})
	switch {
	case err != nil && said.Failed != "":
		return 0, fmt.Errorf("%w: %s", err, said.Failed)
	case err != nil:
		return 0, err
	case said.Ready == 0:
		return 0, errors.Join(errors.New("the new process is ready but does not use this package: end it"), deaf)
	}
	return said.Ready, nil
}

// estate describes what the next process gets, with duplicates of the
// descriptors.
func (a *solo) estate() (estate, error) {
	e := estate{Notify: a.systemd.address, Watchdog: a.systemd.watchdog, Unit: a.unit, Activated: a.activated}
	for _, p := range a.service.endpoints {
		fd, open, err := p.duplicate()
		if err != nil {
			e.close()
			return estate{}, fmt.Errorf("cannot pass listener %q: %w", p.name, err)
		}
		if !open {
			continue
		}
		h := heirloom{Name: p.name, Network: p.network, Kept: p.kept, fd: fd}
		if p.socket != nil {
			h.Spec, h.File = p.socket.String(), p.socket.File()
		}
		e.Listeners = append(e.Listeners, h)
	}
	return e, nil
}

func (e estate) close() {
	for _, h := range e.Listeners {
		closeFD(h.fd)
	}
}

// fail tells the process before why this one is of no use.
func (a *solo) fail(err error) {
	if a != nil && a.before != nil && !isClosed(a.waits) {
		_ = a.before.say(word{Failed: printable(err.Error())}) // its exit status says as much
	}
}

// settle ends an upgrade that is under way, one way or the other, so that it is
// certain whether this process is the last.
func (a *solo) settle(stop <-chan struct{}) {
	if a == nil || a.upgrader == nil {
		return
	}
	if a.before != nil && isClosed(a.waits) {
		timer := time.NewTimer(orderGrace)
		defer timer.Stop()
		select {
		case <-a.serves:
		case <-timer.C:
		case <-stop:
		}
	}
	a.upgrader.close()
	a.upgrading.Lock() // what became of it is known once nobody holds this
	defer a.upgrading.Unlock()
}

// leave lets go of the sockets that another process serves, with their files.
func (a *solo) leave() {
	for _, e := range a.service.endpoints {
		if e.socket != nil && (e.inherited || isClosed(a.replaced)) {
			_ = e.socket.Leave() // closes a descriptor
		}
	}
	for _, s := range a.spare {
		_ = s.Leave()
	}
}

// close ends all that the solo does.
func (a *solo) close() {
	if a.hangups != nil {
		signal.Stop(a.hangups)
	}
	a.end()
	if a.upgrader != nil {
		a.upgrader.close()
	}
	if a.before != nil {
		a.before.close()
	}
	a.running.Wait()
	a.leavePIDFile()
}
