package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// Patience is how long a test waits for what must come.
const Patience = 30 * time.Second

// Command is the package of the command.
const Command = "example.com/supervisor/cmd/supervisor"

// Build builds a main package, without the race detector, and returns the program.
// It goes with the test.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		tb.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// Folder makes a folder for a supervisor, whose name is short enough for sockets
// in it and which every user may enter. It goes with the test.
func Folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// FreeAddress is a HOST:PORT that nobody listens at, for a program that is told
// its address in a file, and where no outgoing connection takes the port.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.1:0", 64+pid>>8&63, pid&255))
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Config says what is run. All but Env is needed.
type Config struct {
	// Binary is the supervisor.
	Binary string
	// Dir is where it runs and keeps its run directory; see Folder.
	Dir string
	// Flags are those of "supervisor run", besides --name and --run-dir.
	Flags []string
	// Program is the service's program with its arguments.
	Program []string
	// Env is added to the environment.
	Env []string
	// Sockets are passed as systemd passes those of a socket unit, by these names
	// (sd_listen_fds(3)). They are borrowed, and must be blocking ones: of others
	// exec.Cmd would change that for all who share them.
	Sockets map[string]*os.File
}

// A Supervisor is one that was started, or whoever was started after it. Its
// methods may not be called concurrently, but for Run, Status, Begin and those of
// what Begin returns.
type Supervisor struct {
	testing.TB
	Config
	// Log is the file that it and its generations write to.
	Log string

	cmd   *exec.Cmd
	ended bool
}

// Start starts a supervisor and waits until it has an active generation.
func Start(tb testing.TB, c Config) *Supervisor {
	tb.Helper()
	s := &Supervisor{TB: tb, Config: c, Log: filepath.Join(c.Dir, "log"), ended: true}
	tb.Cleanup(s.bury)
	s.Launch()
	s.Await("an active generation", func(st upgrade.Status) bool { return Active(st) > 0 })
	return s
}

// Launch starts the supervisor, or the next one after Kill. It does not wait for
// anything.
func (s *Supervisor) Launch() {
	s.Helper()
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	args := append([]string{"run", "--name", "web", "--run-dir", filepath.Join(s.Dir, "run")}, s.Flags...)
	s.cmd = exec.Command(s.Binary, append(append(args, "--"), s.Program...)...)
	s.cmd.Env = append(append(os.Environ(), s.mark()), s.Env...)
	s.passSockets()
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = log, log, s.Dir
	if err := s.cmd.Start(); err != nil {
		s.Fatalf("cannot start the supervisor: %v", err)
	}
	s.ended = false
}

// passSockets has the process that is about to start get Sockets, if there are
// any. The variable that names it is set by a shell, which becomes it.
func (s *Supervisor) passSockets() {
	if len(s.Sockets) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(s.Sockets))
	for _, name := range names {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, s.Sockets[name])
	}
	s.cmd.Args = append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}, s.cmd.Args...)
	s.cmd.Path = "/bin/sh"
	s.cmd.Env = append(s.cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// PID is the supervisor's process.
func (s *Supervisor) PID() int { return s.cmd.Process.Pid }

// Socket is its control socket.
func (s *Supervisor) Socket() string { return filepath.Join(s.Dir, "run", "control.sock") }

// Run runs a command of the supervisor and returns what it wrote. The error is an
// *exec.ExitError where it has ended with another status than 0.
func (s *Supervisor) Run(words ...string) (string, error) {
	args := append([]string{words[0], "--socket", s.Socket()}, words[1:]...)
	out, err := exec.Command(s.Binary, args...).CombinedOutput()
	return string(out), err
}

// Status is what "supervisor status" tells, whether it serves or not.
func (s *Supervisor) Status() (st upgrade.Status, err error) {
	out, err := s.Run("status", "--json")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return st, err
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		return st, fmt.Errorf("no status: %s", strings.TrimSpace(out))
	}
	return st, nil
}

// Active is the number of the active generation; 0 if there is none.
func Active(st upgrade.Status) int {
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleActive {
			return g.Generation
		}
	}
	return 0
}

// Await polls the status until ok says so, and returns it.
func (s *Supervisor) Await(what string, ok func(upgrade.Status) bool) (last upgrade.Status) {
	s.Helper()
	var err error
	s.Poll(what, func() bool {
		last, err = s.Status()
		return err == nil && ok(last)
	}, func() any { return []any{last, err} })
	return last
}

// Poll asks until ok, with short pauses; last tells what was seen last.
func (s *Supervisor) Poll(what string, ok func() bool, last func() any) {
	s.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(Patience); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			s.Fatalf("waited in vain for %s; last: %+v", what, last())
		}
	}
}

// Metrics is what it tells Prometheus.
func (s *Supervisor) Metrics() string {
	s.Helper()
	text, err := s.get("/metrics")
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// Stop stops it as a service manager would, and waits for its end.
func (s *Supervisor) Stop() {
	s.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Error(err)
	}
	s.Wait()
}

// Wait waits for the supervisor's end, which should be a good one.
func (s *Supervisor) Wait() {
	s.Helper()
	late := time.AfterFunc(Patience, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	err := s.cmd.Wait()
	s.ended = true
	if err != nil {
		s.Errorf("the supervisor ended badly: %v", err)
	}
}

// Gone returns how the supervisor ended, if it has ended by itself; nil if it
// lives. Then another one may be launched.
func (s *Supervisor) Gone() *os.ProcessState {
	if !s.ended {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
		_, rest, _ := strings.Cut(string(stat), ") ") // the name may have anything in it (proc_pid_stat(5))
		if err != nil || !strings.HasPrefix(rest, "Z") {
			return nil
		}
		_ = s.cmd.Wait()
		s.ended = true
	}
	return s.cmd.ProcessState
}

// Kill kills it as kill -9 does. Its generations go on.
func (s *Supervisor) Kill() {
	s.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.Errorf("the supervisor was gone before it was killed: %v", err)
	}
	err := s.cmd.Wait()
	s.ended = true
	if how, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !how.Signaled() || how.Signal() != syscall.SIGKILL {
		s.Errorf("the supervisor had ended before it was killed: %v", err)
	}
}
