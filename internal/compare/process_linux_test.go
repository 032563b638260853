package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A process is a child of the test.
type process struct {
	tb     testing.TB
	handle *os.Process
	ended  chan struct{} // closed when it has, and status is known
	status int
}

// start starts a program that writes to a log in the site's folder.
func (s *site) start(words ...string) *process {
	s.Helper()
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	if err := cmd.Start(); err != nil {
		s.Fatalf("cannot start %s: %v", words[0], err)
	}
	return adopt(s, cmd.Process)
}

func (s *site) log() string { return filepath.Join(s.dir, "log") }

// adopt waits for the end of a child, and kills it if the test ends before it.
func adopt(tb testing.TB, handle *os.Process) *process {
	p := &process{tb: tb, handle: handle, ended: make(chan struct{})}
	go func() { // joined by the cleanup
		defer close(p.ended)
		p.status = -1
		if state, err := handle.Wait(); err == nil {
			p.status = state.ExitCode()
		}
	}()
	tb.Cleanup(func() {
		_ = handle.Kill() // has ended, if all is well
		<-p.ended
	})
	return p
}

// signal sends a signal; a process that has ended does not mind.
func (p *process) signal(sig syscall.Signal) {
	p.tb.Helper()
	if err := p.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Fatal(err)
	}
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop tells it to end and waits for that.
func (p *process) stop(sig syscall.Signal) {
	p.tb.Helper()
	p.signal(sig)
	if !poll(limit, func() bool { return !p.alive() }) {
		p.tb.Fatalf("process %d does not end", p.handle.Pid)
	}
}

// kill ends it at once.
func (p *process) kill() { p.stop(syscall.SIGKILL) }

// children are those of a process that has one thread (proc_pid_task(5)).
func children(pid int) []int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	var all []int
	for _, word := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(word); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// replaced reports whether a process has other children now, and none of those
// that it had.
func replaced(pid int, had []int) bool {
	now := children(pid)
	return len(now) > 0 && !slices.ContainsFunc(now, func(child int) bool { return slices.Contains(had, child) })
}
