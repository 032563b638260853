package upgrade

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"example.com/supervisor/fdpass"
)

const (
	// drainGrace is how long the channel of an ended process is read at most;
	// what the process sent is there already, so this ends only a channel that
	// something else holds open.
	drainGrace = 100 * time.Millisecond
	// busyTries and busyPause bound the wait for a program that is still being
	// written (ETXTBSY, execve(2)).
	busyTries = 25
	busyPause = 20 * time.Millisecond
)

// process is one generation: an operating system process and its channel.
type process struct {
	launcher     *launcher
	number       int
	release      Release
	again        bool
	readyTimeout time.Duration
	token        string
	deliver      func(Event)
	log          *slog.Logger
	tail         *tail
	out          chan fdpass.Message // to be sent
	ended        chan struct{}       // closed when the process can be reaped
	talks        sync.WaitGroup      // the conversations
	// parting is held for writing from the reaping of the process until its end has
	// been delivered, and for reading while it is at rest: another supervisor then
	// finds a process that it can reap, or hears of its end.
	parting sync.RWMutex

	mu       sync.Mutex
	hold     Hold          // nil before the start
	talk     *conversation // the latest; nil before the first
	snapshot Snapshot      // but for what is in figures
	figures  figures
	index    map[string]int // of the listeners by name; does not change
	failed   string         // why, as it said last
	signal   syscall.Signal // wanted before the process was there
	child    child
	alive    bool // started and not reaped: the pid is ours
	adopted  bool
}

// run is the whole life of a process that is to be started.
func (p *process) run() {
	p.deliver(Starting{p.number})
	probe, err := p.openProbe()
	if err == nil {
		err = p.grip()
	}
	var channel *fdpass.Conn
	if err == nil {
		channel, err = p.start()
	}
	if err != nil {
		closeFD(probe)
		p.exited(Exited{Reason: "cannot be started: " + err.Error()})
		return
	}
	p.deliver(Started{p.number})
	p.converse(channel, func(c *fdpass.Conn) error { return p.handOver(c, probe) })
	p.live()
}

// live waits for the end of the process, and of all that belongs to it.
func (p *process) live() {
	p.child.await()
	p.hearOut()
	p.parting.Lock()
	defer p.parting.Unlock()
	end := p.reap()
	p.exited(p.endOf(end))
}

// endOf is how a process has ended.
func (p *process) endOf(end exit) Exited {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Exited{Clean: end.clean(), Reason: end.String(), Killed: end.known && end.status.Signaled()}
	if p.failed != "" && !e.Clean {
		e.Reason += ", having said that it failed: " + p.failed
	}
	e.Open, e.OpenKnown = p.figures.left(len(p.index), time.Now())
	return e
}

// hearOut ends the conversation of a process that has ended: what it said last
// counts before its end does.
func (p *process) hearOut() {
	p.mu.Lock()
	close(p.ended)
	talk := p.talk
	p.mu.Unlock()
	if talk != nil {
		soon := time.Now().Add(drainGrace)
		_ = talk.conn.SetReadDeadline(soon)
		_ = talk.conn.SetWriteDeadline(soon)
		p.talks.Wait()
		_ = talk.conn.Close()
	}
}

// grip takes hold of the processes of the generation.
func (p *process) grip() error {
	hold, err := p.launcher.cfg.Keeper.Hold(p.number, p.token)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = hold
	return err
}

// letGo ends what is left of the generation beside its first process.
func (p *process) letGo() {
	p.mu.Lock()
	hold := p.hold
	p.hold = nil
	p.mu.Unlock()
	if hold != nil {
		hold.End()
	}
}

// exited tells of the end at once, for others may have to take its place, and
// then ends what is left.
func (p *process) exited(e Exited) {
	e.Generation = p.number
	p.launcher.cfg.Counted(p.number, nil)
	if r := p.launcher.cfg.Rendezvous; r != nil {
		r.forget(p.number)
	}
	p.launcher.ends(1) // before the event: who has heard that may wait for the rest
	defer p.launcher.ends(-1)
	p.removeProbe()
	p.launcher.disclaim(p)
	p.deliver(e)
	p.letGo()
}

// start executes the program with its end of a new channel as descriptor 3.
func (p *process) start() (*fdpass.Conn, error) {
	channel, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	for try := 1; ; try++ {
		cmd, err := p.command(theirs)
		if err == nil {
			err = p.execute(cmd)
		}
		if errors.Is(err, syscall.ETXTBSY) && try < busyTries {
			time.Sleep(busyPause)
			continue
		}
		if err != nil {
			_ = channel.Close()
			return nil, err
		}
		return channel, nil
	}
}

func (p *process) command(channel *os.File) (*exec.Cmd, error) {
	cfg := p.launcher.cfg
	group := p.hold.Group()
	from, err := cfg.Kept.start(p.release)
	if err != nil && cfg.Kept != nil && !p.again { // who starts it again has logged why it cannot be as it was
		return nil, err
	}
	path, argv := cfg.Execute(p.number, from)
	return &exec.Cmd{
		Path: path,
		Args: argv,
		Dir:  from.WorkingDir(),
		Env: slices.Concat(CleanEnv(cfg.BaseEnv), p.release.Environment(), p.hold.Env(),
			[]string{EnvGeneration + "=" + strconv.Itoa(p.number), fdpass.EnvFD + "=3"}),
		Stdout:     cfg.Stdout,
		Stderr:     cfg.Stderr,
		ExtraFiles: []*os.File{channel},
		// A group of its own: signals from a terminal do not reach it, and it
		// can be killed with all its children.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: group >= 0, CgroupFD: max(group, 0)},
	}, nil
}

// execute starts cmd unless it has been called off meanwhile. It does not hold
// the lock over the start, which may take as long as a file system likes.
func (p *process) execute(cmd *exec.Cmd) error {
	p.mu.Lock()
	off := p.signal != 0
	p.mu.Unlock()
	if off {
		return errors.New("it was called off before it ran")
	}
	if err := p.startIn(cmd); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	_ = cmd.Process.Release() // child waits for it
	p.launcher.cfg.Children(pid, true)
	_, ticks, err := readStat(pid)
	if err != nil {
		p.log.Warn("cannot tell when the process was started; it could not be adopted after a crash", "pid", pid, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child = child{pid: pid, ticks: ticks}
	p.alive, p.snapshot.PID = true, pid
	if p.signal != 0 {
		_ = p.child.signal(p.signal, true) // it cannot have done anything yet
	}
	return nil
}

// startIn starts cmd in the generation's control group. Where the system does not
// allow that (clone3(2) is filtered by systemd's RestrictNamespaces=, which says
// ENOSYS), the supervisor is in the group itself meanwhile. To move the process
// later would leave behind what it had forked by then.
func (p *process) startIn(cmd *exec.Cmd) error {
	err := cmd.Start()
	if !cmd.SysProcAttr.UseCgroupFD || !errors.Is(err, syscall.ENOSYS) {
		return err
	}
	again := &exec.Cmd{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: cmd.Env, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		ExtraFiles: cmd.ExtraFiles, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	err = p.hold.Within(again.Start)
	cmd.Process = again.Process
	return err
}

func (p *process) handOver(c *fdpass.Conn, probe int) error {
	defer closeFD(probe)
	if !p.launcher.borrow() {
		return errors.New("the supervisor is stopping")
	}
	defer p.launcher.CloseListeners()
	listeners, back, err := p.launcher.cfg.Lend(p.number, p.release)
	if err != nil {
		return &ownError{err}
	}
	defer back()
	hello, err := fdpass.Offer(c, p.launcher.welcome(p.number, p.token, p.readyTimeout), probe, listeners)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot.Joined = hello.Protocol != 0
	if err != nil {
		return err
	}
	p.introduced(hello.Library, hello.Capabilities)
	if probe >= 0 && slices.Contains(hello.Capabilities, fdpass.CanProbe) {
		p.snapshot.ProbeSocket = p.probePath()
	}
	return nil
}

// introduced keeps what a child said of itself. The lock is held.
func (p *process) introduced(library string, capabilities []string) {
	p.snapshot.Library, p.snapshot.Capabilities = library, capabilities
	p.snapshot.Reports = slices.Contains(capabilities, fdpass.CanStats)
	p.figures.activeOnly = !p.snapshot.Reports && slices.Contains(capabilities, fdpass.CanActive)
}

// setStats keeps what a child says of its listeners. What one says that knows no
// more than its open connections is nothing to count with.
func (p *process) setStats(m fdpass.Stats) {
	p.mu.Lock()
	p.snapshot.Program = m.Program
	p.figures.set(m, p.index, time.Now())
	counts := !p.figures.activeOnly
	p.mu.Unlock()
	if counts {
		p.launcher.cfg.Counted(p.number, m.Listeners)
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

func (p *process) Drain(id uint64, deadline time.Duration, final bool, last []string) {
	p.send(fdpass.Drain{ID: id, DeadlineMS: fdpass.Milliseconds(deadline), Final: final, Last: last})
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

func (p *process) Terminate() { p.kill(syscall.SIGTERM) }

func (p *process) Kill() {
	p.kill(syscall.SIGKILL)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil && (p.alive || p.adopted) { // while it is being started, this process may be in its group
		p.hold.Kill()
	}
}

// kill sends SIGTERM to the process, or SIGKILL to its group.
func (p *process) kill(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive {
		p.signal = sig
		return
	}
	// ESRCH: an adopted process has ended meanwhile. One of ours is not reaped
	// while alive is set.
	if err := p.child.signal(sig, sig == syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.log.Error("cannot signal", "signal", sig, "error", err)
	}
}

// reap ends what is left of the process group, then reaps its leader. That of an
// adopted one may take reapGrace, for which nobody else waits.
func (p *process) reap() exit {
	p.mu.Lock()
	c := p.child
	_ = c.signal(syscall.SIGKILL, true) // ESRCH: nobody else is left
	p.alive = false
	p.mu.Unlock()
	p.launcher.cfg.Children(c.pid, false) // as long as the number is its own
	return c.reap()
}

func (p *process) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.snapshot
	s.Listeners = p.figures.reported(p.index)
	s.Accepted, s.Active = p.figures.sums(s.Reports, len(p.index))
	return s
}

// Usage asks for what the processes of the generation use.
func (p *process) Usage() Usage {
	p.mu.Lock()
	hold, pid, alive := p.hold, p.child.pid, p.alive
	p.mu.Unlock()
	if hold == nil || !alive {
		return Usage{}
	}
	u := Usage{Group: hold.Path()}
	if bytes, ok := hold.Memory(pid); ok {
		u.MemoryBytes = &bytes
	}
	return u
}

func (p *process) State() ProcessState {
	s := p.Snapshot()
	p.mu.Lock()
	defer p.mu.Unlock()
	return ProcessState{
		Generation: p.number, Release: p.release, PID: s.PID, StartTicks: p.child.ticks, Token: p.token,
		Program: s.Program, Joined: s.Joined, ProbeSocket: s.ProbeSocket, Library: s.Library, Capabilities: s.Capabilities, Listeners: s.Listeners,
	}
}

func (p *process) Rest() (channel int, goOn func()) {
	p.parting.RLock()
	p.mu.Lock()
	talk := p.talk
	p.mu.Unlock()
	if talk == nil {
		return 0, p.parting.RUnlock
	}
	over := talk.rest()
	if over == nil {
		return 0, p.parting.RUnlock
	}
	rested := func() {
		over()
		p.parting.RUnlock()
	}
	channel, err := talk.conn.Duplicate()
	if err != nil && talk.isOver() { // that it is closed is known, or the end of the process is
		return 0, rested
	}
	if err != nil {
		p.log.Warn("cannot hand on the channel of a generation; it will have to come back by itself", "error", err)
		return 0, rested
	}
	return channel, func() {
		closeFD(channel)
		rested()
	}
}

func (p *process) Output() []string {
	return lastOf(p.tail.lines(), p.launcher.cfg.OwnLine)
}
