package service

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/listen"
)

// A stagePlay is a program that stands alone, and those that it starts.
type stagePlay struct {
	t    *testing.T
	role string // its file
	pid  int    // of the first process
	mu   sync.Mutex
	log  []string
	more chan struct{} // closed and replaced at each line
	over chan struct{} // closed when all processes have ended
}

// act starts a role with more of an environment and the descriptors passed, which
// it borrows. "PID" in a value becomes the process's own id.
func act(t *testing.T, r role, environment []string, passed ...int) *stagePlay {
	t.Helper()
	p := &stagePlay{t: t, role: filepath.Join(t.TempDir(), "role"), more: make(chan struct{}), over: make(chan struct{})}
	p.next(r)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	read := os.NewFile(uintptr(pipe[0]), "log")
	files := []uintptr{0, uintptr(pipe[1]), uintptr(pipe[1])}
	for _, fd := range passed {
		files = append(files, uintptr(fd))
	}
	script := "exec \"$0\""
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		script = "export " + name + "=" + strings.ReplaceAll(value, "PID", "$$") + "; " + script
	}
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", script, os.Args[0]}, &syscall.ProcAttr{
		Env: append(os.Environ(), roleVariable+"="+p.role), Files: files,
	})
	_ = unix.Close(pipe[1])
	if err != nil {
		t.Fatal(err)
	}
	p.pid = pid
	go p.read(read) // ends with the last process, which end waits for
	t.Cleanup(p.end)
	return p
}

// next makes r the role of the next process.
func (p *stagePlay) next(r role) {
	p.t.Helper()
	text, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(p.role, text, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *stagePlay) read(from *os.File) {
	defer close(p.over)
	defer from.Close()
	for lines := bufio.NewScanner(from); lines.Scan(); {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// says waits until the log has count matches of a pattern, and returns the last.
func (p *stagePlay) says(pattern string, count int) []string {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		var found []string
		n := 0
		for _, line := range p.log {
			if m := want.FindStringSubmatch(line); m != nil {
				found = m
				n++
			}
		}
		more, all := p.more, strings.Join(p.log, "\n")
		p.mu.Unlock()
		if n >= count {
			return found
		}
		select {
		case <-more:
		case <-late:
			p.t.Fatalf("%d lines like %q instead of %d:\n%s", n, pattern, count, all)
		}
	}
}

// address is where the listener of a name listens.
func (p *stagePlay) address(name string) string {
	p.t.Helper()
	return p.says(`msg=listening name=`+name+` .*address=(\S+)`, 1)[1]
}

// signal sends a signal to a process.
func (p *stagePlay) signal(pid int, s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		p.t.Fatal(err)
	}
}

// upgrade has the process pid replace itself, the count-th upgrade, and returns
// the new one when the old one has ended.
func (p *stagePlay) upgrade(pid, count int) int {
	p.t.Helper()
	p.signal(pid, syscall.SIGHUP)
	next, err := strconv.Atoi(p.says(`msg=upgraded pid=(\d+)`, count)[1])
	if err != nil {
		p.t.Fatal(err)
	}
	p.gone(pid)
	return next
}

// gone waits for the end of a process.
func (p *stagePlay) gone(pid int) {
	p.t.Helper()
	if pid == p.pid {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
			p.t.Errorf("process %d: %v, %v", pid, status, err)
		}
		p.pid = 0
		return
	}
	eventually(p.t, "the end of a process", func() bool {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(text), ") Z ")
	})
}

// stop ends the play by its last process.
func (p *stagePlay) stop(pid int) {
	p.t.Helper()
	p.signal(pid, syscall.SIGTERM)
	<-p.over
}

// end kills what a test that failed left.
func (p *stagePlay) end() {
	if p.pid != 0 {
		select {
		case <-p.over:
		default:
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		_, _ = syscall.Wait4(p.pid, nil, 0, nil)
	}
	if p.t.Failed() {
		p.mu.Lock()
		for _, line := range p.log {
			if m := regexp.MustCompile(`msg=upgraded pid=(\d+)`).FindStringSubmatch(line); m != nil {
				if pid, _ := strconv.Atoi(m[1]); pid > 1 && isOurs(pid) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			p.t.Log(line)
		}
		p.mu.Unlock()
	}
	<-p.over
}

// isOurs makes sure that a process is one of this binary.
func isOurs(pid int) bool {
	own, err := os.Readlink("/proc/self/exe")
	other, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && err2 == nil && own == other
}

// open opens a socket for a test to pass.
func open(t *testing.T, text string) *listen.Socket {
	t.Helper()
	spec, err := listen.ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := listen.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ask sends a datagram and returns what comes back.
func ask(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}
