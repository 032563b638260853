package shim

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// A program is the process of the program.
type program struct {
	pid    int
	exited chan syscall.WaitStatus
	mu     sync.Mutex
	reaped bool
	closes []func() error // what is held for it
}

// start runs the program.
func (s *shim) start() (*program, error) {
	p := &program{exited: make(chan syscall.WaitStatus, 1)}
	l, err := s.prepare(p)
	if err == nil {
		err = p.launch(l)
		s.pid.Store(int64(p.pid))
	}
	for _, f := range l.theirs {
		_ = f.Close()
	}
	if err != nil {
		p.release()
		return nil, fmt.Errorf("cannot run %s: %w", s.cfg.Path, err)
	}
	go p.await() // it ends with the program
	s.watchReady(p)
	return p, nil
}

// A launch is what a program is started with.
type launch struct {
	path string
	argv []string
	env  []string
	fds  []int // from descriptor 3 on; borrowed
	// theirs are closed once the program has them.
	theirs []*os.File
	// own tells that the environment names the program's own pid.
	own  bool
	self string
}

// prepare makes what the protocol wants.
func (s *shim) prepare(p *program) (*launch, error) {
	l := &launch{path: s.cfg.Path, argv: s.cfg.Command, self: s.cfg.Self}
	facts := protocol.Facts{
		Listeners: s.listeners, Generation: s.welcome.Generation, PID: selfPID, Parent: os.Getpid(), Notify: s.cfg.Socket,
		Watchdog: s.cfg.Watchdog,
	}
	for _, listener := range s.listeners {
		l.fds = append(l.fds, listener.FD)
	}
	var err error
	switch s.cfg.Protocol.Name {
	case protocol.ListenFDs:
		l.own = true
		err = s.listenForNotices(p)
	case protocol.Einhorn:
		err = s.listenForAcks(p)
	case protocol.Tableflip:
		err = s.playParent(p, l)
	}
	l.env = append(cleanEnv(os.Environ()), s.cfg.Protocol.Name.Env(facts)...)
	return l, err
}

// cleanEnv leaves out what is meant for others.
func cleanEnv(env []string) []string {
	var clean []string
	for _, entry := range upgrade.CleanEnv(env) {
		key, _, _ := strings.Cut(entry, "=")
		if !protocol.IsVariable(key) {
			clean = append(clean, entry)
		}
	}
	return clean
}

// launch starts the program. Where it is to find its own pid in its environment,
// which nobody knows before it runs, this binary is started first, as the command
// shim-exec, and executes it.
//
// Descriptors are passed by number: to make files of listeners would make them
// blocking for every generation.
func (p *program) launch(l *launch) error {
	files := []uintptr{0, 1, 2}
	for _, fd := range l.fds {
		files = append(files, uintptr(fd))
	}
	attr := &syscall.ProcAttr{Env: l.env, Files: files}
	if !l.own {
		pid, err := syscall.ForkExec(l.path, l.argv, attr)
		p.pid = pid
		return err
	}
	told, tells, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	defer tells.Close()
	err = withFD(tells, func(fd int) (err error) {
		attr.Files = append(attr.Files, uintptr(fd))
		argv := append([]string{"supervisor", execCommand, fmt.Sprint(len(attr.Files) - 1), l.path}, l.argv...)
		p.pid, err = syscall.ForkExec(l.self, argv, attr)
		return err
	})
	if err != nil {
		return err
	}
	_ = tells.Close()
	if reason := said(told); reason != "" {
		p.reap()
		return errors.New(reason)
	}
	return nil
}

// await tells how the program ended. It is reaped under the lock, so that nobody
// signals a process that has got its number since.
func (p *program) await() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			p.exited <- p.reap()
			return
		}
	}
}

func (p *program) reap() (status syscall.WaitStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	for {
		_, err := syscall.Wait4(p.pid, &status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return status
		}
	}
}

// signal signals the program, unless it has ended.
func (p *program) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(p.pid, sig) // ESRCH cannot be: it is reaped under this lock
	}
}

// hold keeps something until release.
func (p *program) hold(closes func() error) { p.closes = append(p.closes, closes) }

// release gives up what was held for the program.
func (p *program) release() {
	for _, closes := range p.closes {
		_ = closes()
	}
	p.closes = nil
}
