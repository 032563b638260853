package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// console is a pseudo terminal with a command in it (pty(7)).
type console struct {
	t       *testing.T
	control *os.File
	cmd     *exec.Cmd
	shown   strings.Builder
}

// inShell runs a command for a shell that leads the session, tells its exit
// status, and ends when it is told to: with a leader that ends, the kernel throws
// away what it has written and nobody has read.
const inShell = `trap : INT TERM; "$@"; echo "[status $?]"; read -r end`

// inConsole starts a command in a terminal of 80 by 500 characters, in which
// there is room for all listeners of other tests.
func inConsole(t *testing.T, env []string, words ...string) *console {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	c := &console{t: t, control: os.NewFile(uintptr(fd), "ptmx"), cmd: exec.Command("sh", append([]string{"-c", inShell, "sh"}, words...)...)}
	t.Cleanup(func() { c.control.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.resize(80, 500)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = terminal, terminal, terminal
	c.cmd.Env = append(os.Environ(), append(env, "TERM=xterm", "LC_ALL=C.UTF-8", "XDG_RUNTIME_DIR="+t.TempDir())...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil { // the test failed
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	return c
}

// resize makes the window another size; the kernel tells the command.
func (c *console) resize(width, height uint16) {
	c.t.Helper()
	raw, err := c.control.SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// until reads what is shown until it matches, and forgets what was before.
func (c *console) until(pattern string) string {
	c.t.Helper()
	c.shown.Reset()
	matches, buffer := regexp.MustCompile(pattern), make([]byte, 4096)
	_ = c.control.SetReadDeadline(time.Now().Add(patience))
	for !matches.MatchString(c.shown.String()) {
		n, err := c.control.Read(buffer)
		if err != nil {
			shown := c.shown.String()
			c.t.Fatalf("waited in vain for %q: %v; last:\n%q", pattern, err, shown[max(0, len(shown)-1000):])
		}
		c.shown.Write(buffer[:n])
	}
	return c.shown.String()
}

// end reads the rest of what the command writes, and waits for its end, without a
// failure.
func (c *console) end() (rest string) {
	c.t.Helper()
	rest, status, _ := strings.Cut(c.until(`\[status \d+\]\r\n`), "[status ")
	if status != "0]\r\n" {
		c.t.Errorf("ended with status %s, want no failure; last:\n%q", status, rest)
	}
	if _, err := c.control.WriteString("\n"); err != nil {
		c.t.Fatal(err)
	}
	_ = c.cmd.Wait() // what it read last is its status
	return rest
}

// terminate sends SIGTERM to the command; the shell waits for it.
func (c *console) terminate() {
	c.t.Helper()
	if err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
}

const (
	enters = "\x1b[?1049h"
	leaves = "\x1b[?1049l"
)

func TestWatchFollowsTheWindowAndGivesItBack(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"Ctrl-C", "SIGTERM"} {
		c := inConsole(t, []string{"NO_COLOR=1"}, "supervisor", "queue", "--all", "--watch=20ms")
		text := c.until(`listeners in this network namespace, (?s).*together`)
		if !strings.HasPrefix(text, enters) {
			t.Errorf("does not begin with a screen of its own: %.80q", text)
		}
		if strings.Contains(text, "\x1b[1m") || strings.Contains(text, "\x1b[2m") {
			t.Errorf("colors in spite of NO_COLOR: %q", text)
		}
		c.resize(20, 6)
		c.until(`\d+ listeners in \w* *\r+\n(?s).*\.\.\. \d+ lines more`)
		if how == "Ctrl-C" {
			if _, err := c.control.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
		} else {
			c.terminate()
		}
		rest := c.end()
		if !strings.HasSuffix(rest, leaves) || strings.Count(rest, leaves) != 1 {
			t.Errorf("%s: the terminal is not given back: %q", how, rest)
		}
	}
}

func TestWatchEndsWithTheSupervisorInATerminal(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"time":"2026-05-04T12:00:00Z","service":"web","listeners":[{"name":"http","depth":9,"limit":8,"fill":1,"trouble":[{"reason":"full","text":"it is full"}]}]}`)
		_ = http.NewResponseController(w).Flush()
		<-over
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Close(); <-served })
	c := inConsole(t, nil, "supervisor", "queue", "--watch", "--socket", socket)
	c.until(`\x1b\[1;31m +! it is full\x1b\[0m(?s).*█  peak 9`)
	c.until(`no news for \d+\.\ds: what is shown is old`)
	close(over)
	if rest := c.end(); !strings.HasSuffix(rest, leaves+"the supervisor has ended\r\n") {
		t.Errorf("ends with %q", rest)
	}
}
