package upgrade

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// exitGrace is how long a closed channel waits for the exit that explains it.
	exitGrace = time.Second
	// drainGrace is how long the channel of an ended process is read at most;
	// what the process sent is there already, so this ends only a channel that
	// something else holds open.
	drainGrace = 100 * time.Millisecond
	// sendGrace is how long a child may leave its channel unread.
	sendGrace = 5 * time.Second
	// messageLimit is the number of messages that a child may send in a second.
	messageLimit = 1000
	// complaintLimit is how many of a child's error messages are logged.
	complaintLimit = 10
	// busyTries and busyPause bound the wait for a program that is still being
	// written (ETXTBSY, execve(2)).
	busyTries = 25
	busyPause = 20 * time.Millisecond
)

// LauncherConfig says what a launcher hands to the processes that it starts.
type LauncherConfig struct {
	// Service is the name that a child is told.
	Service string
	// Listeners are handed to each generation. The launcher borrows the
	// descriptors until it calls Close, which is when it is told to
	// CloseListeners and no handoff is under way any more.
	Listeners []fdpass.Listener
	Close     func()
	// Prepare, if set, is called before each handoff, from any goroutine, to
	// see to the listeners; its error fails the generation.
	Prepare func() error
	// RunDir is where each generation's probe socket is made; "" means none.
	RunDir string
	// BaseEnv is the environment to which a Program's Env is added; variables
	// that speak of descriptors or notification are taken out of it.
	BaseEnv []string
	// OwnLine, if set, tells lines on Stderr that are the supervisor's own; they
	// are left out of a generation's Output. It may be called from any goroutine.
	OwnLine func(string) bool
	// Stdout and Stderr are inherited by every process; nil means /dev/null.
	Stdout, Stderr *os.File
	// StatsInterval is how often a generation that is busy reports. Default
	// 50 ms, or a millisecond for each listener if that is more.
	StatsInterval time.Duration
	// Counted, if set, is called with what a generation reports, and with nil
	// when it has ended, from any goroutine, but with one report of a generation
	// at a time; it must not block.
	Counted func(generation int, stats []fdpass.ListenerStats)
	// Logger takes what a child says that is no event; nil means none.
	Logger *slog.Logger
}

// NewLauncher returns a Launcher of processes that speak the protocol of
// docs/protocol.md.
func NewLauncher(cfg LauncherConfig) Launcher {
	if cfg.StatsInterval == 0 {
		cfg.StatsInterval = max(50*time.Millisecond, time.Duration(len(cfg.Listeners))*time.Millisecond)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Close == nil {
		cfg.Close = func() {}
	}
	if cfg.Prepare == nil {
		cfg.Prepare = func() error { return nil }
	}
	if cfg.Counted == nil {
		cfg.Counted = func(int, []fdpass.ListenerStats) {}
	}
	if cfg.OwnLine == nil {
		cfg.OwnLine = func(string) bool { return false }
	}
	l := &launcher{cfg: cfg, index: make(map[string]int, len(cfg.Listeners))}
	for i, listener := range cfg.Listeners {
		l.index[listener.Name] = i
	}
	l.listeners.users = 1
	return l
}

type launcher struct {
	cfg       LauncherConfig
	index     map[string]int // of the listeners by name
	listeners struct {
		sync.Mutex
		users int // handoffs under way, and one until CloseListeners
	}
}

// borrow keeps the listeners open; false if they are closed already.
func (l *launcher) borrow() bool {
	l.listeners.Lock()
	defer l.listeners.Unlock()
	if l.listeners.users == 0 {
		return false
	}
	l.listeners.users++
	return true
}

func (l *launcher) CloseListeners() {
	l.listeners.Lock()
	defer l.listeners.Unlock()
	if l.listeners.users--; l.listeners.users == 0 {
		l.cfg.Close()
	}
}

func (l *launcher) Launch(n int, r Release, readyTimeout time.Duration, deliver func(Event)) Process {
	p := &process{
		launcher: l, number: n, release: r, readyTimeout: readyTimeout, deliver: deliver,
		log:   l.cfg.Logger.With("generation", n),
		tail:  newTail(l.cfg.Stderr),
		out:   make(chan fdpass.Message, 16),
		ended: make(chan struct{}),
		stats: make([]ListenerStats, len(l.cfg.Listeners)),
	}
	go p.run() // its end is its Exited, which the supervisor waits for
	return p
}

// process is one generation: an operating system process and its channel.
type process struct {
	launcher     *launcher
	number       int
	release      Release
	readyTimeout time.Duration
	deliver      func(Event)
	log          *slog.Logger
	tail         *tail
	out          chan fdpass.Message // to be sent
	ended        chan struct{}       // closed when the process can be reaped
	losing       sync.Once           // the channel is lost once
	complaints   int                 // of the child, logged up to complaintLimit

	mu       sync.Mutex
	snapshot Snapshot        // but for its Listeners, which are in stats
	stats    []ListenerStats // in the order of the listeners; no name: not reported yet
	signal   syscall.Signal  // wanted before the process was there
	alive    bool            // started and not reaped: the pid is ours
}

// run is the whole life of the process.
func (p *process) run() {
	probe, err := p.openProbe()
	if err != nil {
		p.exited(false, "cannot be started: "+err.Error())
		return
	}
	channel, cmd, err := p.start()
	if err != nil {
		closeFD(probe)
		p.removeProbe()
		p.exited(false, "cannot be started: "+err.Error())
		return
	}
	var talk sync.WaitGroup
	talk.Go(func() { p.listen(channel, probe) })
	talk.Go(func() { p.speak(channel) })
	awaitExit(cmd.Process.Pid)
	// What it said last counts before its end does.
	close(p.ended)
	soon := time.Now().Add(drainGrace)
	_ = channel.SetReadDeadline(soon)
	_ = channel.SetWriteDeadline(soon)
	talk.Wait()
	_ = channel.Close()
	state := p.reap(cmd)
	p.removeProbe()
	p.exited(state.Success(), describeExit(state))
}

func (p *process) exited(clean bool, reason string) {
	p.launcher.cfg.Counted(p.number, nil)
	p.deliver(Exited{Generation: p.number, Clean: clean, Reason: reason})
}

// start executes the program with its end of a new channel as descriptor 3.
func (p *process) start() (*fdpass.Conn, *exec.Cmd, error) {
	channel, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	for try := 1; ; try++ {
		cmd := p.command(theirs)
		err := p.execute(cmd)
		if errors.Is(err, syscall.ETXTBSY) && try < busyTries {
			time.Sleep(busyPause)
			continue
		}
		if err != nil {
			_ = channel.Close()
			return nil, nil, err
		}
		return channel, cmd, nil
	}
}

func (p *process) command(channel *os.File) *exec.Cmd {
	cfg := p.launcher.cfg
	return &exec.Cmd{
		Path:       p.release.Path,
		Args:       p.release.Command,
		Dir:        p.release.Dir,
		Env:        slices.Concat(CleanEnv(cfg.BaseEnv), p.release.Env, []string{fdpass.EnvFD + "=3"}),
		Stdout:     cfg.Stdout,
		Stderr:     cfg.Stderr,
		ExtraFiles: []*os.File{channel},
		// A group of its own: signals from a terminal do not reach it, and it
		// can be killed with all its children.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
}

// listen hands the listeners over and turns what the child says into events.
func (p *process) listen(c *fdpass.Conn, probe int) {
	if err := p.handOver(c, probe); err != nil {
		p.lost(c, err)
		return
	}
	second, messages := time.Now(), 0
	for {
		m, fds, err := c.Receive()
		closeFD(fds...) // a child has none to give
		if errors.Is(err, fdpass.ErrUnknownType) {
			_ = c.Send(fdpass.Error{Reason: err.Error()}) // if it cannot be told, the next Receive fails
			err = nil
		}
		if now := time.Now(); now.Sub(second) > time.Second {
			second, messages = now, 0
		}
		if messages++; messages > messageLimit {
			err = fmt.Errorf("more than %d messages in a second", messageLimit)
		}
		if err == nil && m != nil {
			err = p.heard(m)
		}
		if err != nil {
			p.lost(c, err)
			return
		}
	}
}

func (p *process) handOver(c *fdpass.Conn, probe int) error {
	defer closeFD(probe)
	if !p.launcher.borrow() {
		return errors.New("the supervisor is stopping")
	}
	defer p.launcher.CloseListeners()
	if err := p.launcher.cfg.Prepare(); err != nil {
		return &ownError{err}
	}
	hello, err := fdpass.Offer(c, fdpass.Welcome{
		Service:    p.launcher.cfg.Service,
		Generation: p.number,
		StatsMS:    fdpass.Milliseconds(p.launcher.cfg.StatsInterval),
		ReadyMS:    fdpass.Milliseconds(p.readyTimeout),
	}, probe, p.launcher.cfg.Listeners)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot.Joined = hello.Protocol != 0
	if err != nil {
		return err
	}
	p.snapshot.Library, p.snapshot.Capabilities = hello.Library, hello.Capabilities
	p.snapshot.Reports = slices.Contains(hello.Capabilities, fdpass.CanStats)
	if probe >= 0 && slices.Contains(hello.Capabilities, fdpass.CanProbe) {
		p.snapshot.ProbeSocket = p.probePath()
	}
	return nil
}

// heard takes one message.
func (p *process) heard(m fdpass.Message) error {
	switch m := m.(type) {
	case fdpass.Ready:
		p.deliver(SaidReady{p.number, slices.Contains(p.Snapshot().Capabilities, fdpass.CanPause)})
	case fdpass.Failed:
		p.deliver(SaidFailed{p.number, m.Reason})
	case fdpass.Paused:
		p.deliver(SaidPaused{p.number, m.ID})
	case fdpass.Resumed:
		p.deliver(SaidResumed{p.number, m.ID})
	case fdpass.Drained:
		p.deliver(SaidDrained{p.number, m.ID, m.Cut})
	case fdpass.Stats:
		p.setStats(m)
		p.launcher.cfg.Counted(p.number, m.Listeners)
	case fdpass.Error:
		if p.complaints++; p.complaints <= complaintLimit {
			p.log.Warn("the child reports an error", "reason", m.Reason)
		}
	default:
		return fmt.Errorf("unexpected message %T", m)
	}
	return nil
}

// setStats keeps the figures of the listeners that m names; a child with very
// many of them tells in several messages.
func (p *process) setStats(m fdpass.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range m.Listeners {
		if i, ok := p.launcher.index[l.Name]; ok { // a child may make names up
			p.stats[i] = ListenerStats{Name: l.Name, Accepted: l.Accepted, Active: l.Active, OldestSeconds: float64(l.OldestMS) / 1000}
		}
	}
}

// lost reports, once, a channel that is of no more use.
func (p *process) lost(c *fdpass.Conn, err error) {
	p.losing.Do(func() { p.reportLoss(err) })
	_ = c.Close()
}

func (p *process) reportLoss(err error) {
	var peer *fdpass.PeerError
	var own *ownError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		select { // an exit explains it, and says more
		case <-p.ended:
		case <-time.After(exitGrace):
			p.deliver(ChannelLost{p.number, "closed its channel"})
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && p.hasEnded(): // its channel is held open by another
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.deliver(ChannelLost{p.number, "does not read its channel"})
	case errors.As(err, &peer):
		p.deliver(SaidFailed{p.number, peer.Reason})
	case errors.As(err, &own):
		p.deliver(ChannelLost{p.number, "could not be handed its listeners: " + err.Error()})
	default:
		p.deliver(ChannelLost{p.number, "broke the protocol: " + err.Error()})
	}
}

// ownError is a fault on the supervisor's side.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

// speak sends what is to be sent, so that nobody else waits for the child.
func (p *process) speak(c *fdpass.Conn) {
	for {
		select {
		case m := <-p.out:
			_ = c.SetWriteDeadline(time.Now().Add(sendGrace))
			if p.hasEnded() { // run gave the channel its last deadline, before or after
				return
			}
			if err := c.Send(m); err != nil {
				p.lost(c, err)
				return
			}
		case <-p.ended:
			return
		}
	}
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) send(m fdpass.Message) {
	select {
	case p.out <- m:
	default: // sixteen commands unread: the deadline of the command ends this
		p.log.Warn("the child does not read its channel")
	}
}

func (p *process) Pause(id uint64)  { p.send(fdpass.Pause{ID: id}) }
func (p *process) Resume(id uint64) { p.send(fdpass.Resume{ID: id}) }

func (p *process) Drain(id uint64, deadline time.Duration, final bool) {
	p.send(fdpass.Drain{ID: id, DeadlineMS: fdpass.Milliseconds(deadline), Final: final})
}

func (p *process) Hold(hold bool) {
	if !slices.Contains(p.Snapshot().Capabilities, fdpass.CanHold) {
		return
	}
	select {
	case p.out <- fdpass.Hold{On: hold}:
	default: // it has not read what came before, and can do without
	}
}

func (p *process) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.snapshot
	for _, stats := range p.stats {
		if stats.Name != "" {
			s.Listeners = append(s.Listeners, stats)
		}
	}
	return s
}

func (p *process) Output() []string {
	return lastOf(p.tail.lines(), p.launcher.cfg.OwnLine)
}

// CleanEnv returns env without the variables that tell a process of
// descriptors or of a service manager that are meant for its parent.
func CleanEnv(env []string) []string {
	private := []string{fdpass.EnvFD, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
		"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID", "MANAGERPID"}
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(private, key)
	})
}
