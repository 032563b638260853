package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// errSupervisorEnded tells that the supervisor ended by itself.
var errSupervisorEnded = errors.New("the supervisor ended by itself")

// marker is the environment variable by which the processes of a run are found.
const marker = "SUPERVISOR_DEMO"

// A supervisor is the one that the demo started, in a process of its own.
type supervisor struct {
	client *control.Client
	runDir string
	mark   string // marker and value, as in the environment
	leash  *os.File
	log    *os.File
	cmd    *exec.Cmd
	ended  chan struct{}
	exit   error // how it ended; read after ended
}

// startSupervisor starts a supervisor of the first version. It must be ended.
func startSupervisor(c Config, log *os.File) (*supervisor, error) {
	id := strings.ToLower(rand.Text()[:10])
	dir, err := runDir(id)
	if err != nil {
		return nil, err
	}
	theirs, leash, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start a supervisor: %w", err)
	}
	defer theirs.Close()
	s := &supervisor{
		client: control.NewClient(filepath.Join(dir, rundir.ControlSocket)),
		runDir: dir, mark: marker + "=" + id, leash: leash, log: log, ended: make(chan struct{}),
	}
	s.cmd = exec.Command(c.Executable, c.runArgs(dir)...)
	s.cmd.Env = append(upgrade.CleanEnv(os.Environ()), s.mark)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = theirs, log, log
	// A group of its own: an interrupt at the terminal is for the demo alone.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		leash.Close()
		return nil, fmt.Errorf("cannot start a supervisor: %w", err)
	}
	go func() { // joined by ended
		defer close(s.ended)
		s.exit = s.cmd.Wait()
	}()
	return s, nil
}

// runArgs are the words of the command that is started, behind its name. The queue
// may stand for half of the bake: a version that stalls is noticed in time, and on
// a busy machine, which the clients share, a sound one that must wait is none.
func (c Config) runArgs(dir string) []string {
	return append([]string{RunCommand,
		"--name", serviceName,
		"--run-dir", dir,
		"--listen", listenerName + "=tcp://127.0.0.1:0",
		"--bake", c.Bake.String(), "--queue-interval", (c.Bake / 2).String(),
		"--probe", "/", "--probe-interval", "25ms", "--probe-failures", "2",
		"--drain-timeout", drainTimeout.String(), "--stop-grace", stopGrace.String(),
		"--max-draining", "100",
		"--",
	}, c.args(firstVersion, Sound)...)
}

// runDir chooses a directory that does not exist yet, with a path short enough
// for the sockets in it. The supervisor makes it, mode 0700, and removes it.
func runDir(id string) (string, error) {
	var failed error
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		if parent == "" || unix.Access(parent, unix.W_OK|unix.X_OK) != nil {
			continue
		}
		place, err := rundir.Choose(filepath.Join(parent, "supervisor-demo-"+id), serviceName, os.Getenv, os.Geteuid())
		if err == nil {
			return place.Path, nil
		}
		failed = err
	}
	return "", errors.Join(errors.New("cannot choose a run directory; try TMPDIR=/tmp"), failed)
}

// startTimeout is how long the first generation may take to become active.
const startTimeout = 30 * time.Second

// awaitActive returns the address of the service once a generation is active.
func (s *supervisor) awaitActive(ctx context.Context) (address string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no generation became active within %v", startTimeout))
	defer cancel()
	for {
		status, err := s.client.Status(ctx)
		if err == nil && active(status) != nil && len(status.Listeners) == 1 {
			return status.Listeners[0].Address, nil
		}
		select {
		case <-s.ended:
			return "", s.endedByItself()
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// active is the generation that is active and ready, nil if there is none.
func active(status upgrade.Status) *upgrade.GenerationStatus {
	for i, g := range status.Generations {
		if g.Role == upgrade.RoleActive && g.Ready != nil {
			return &status.Generations[i]
		}
	}
	return nil
}

// process finds the process of a generation.
func (s *supervisor) process(ctx context.Context, generation int) (*os.Process, error) {
	status, err := s.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range status.Generations {
		if g.Generation == generation && g.PID > 0 {
			return os.FindProcess(g.PID)
		}
	}
	return nil, fmt.Errorf("generation %d is not there", generation)
}

// end stops the supervisor and all that it started: gracefully, until hurry is
// closed or too much time has passed. It returns what is not as it should be.
func (s *supervisor) end(hurry <-chan struct{}) error {
	patience := time.NewTimer(drainTimeout + 2*stopGrace)
	defer patience.Stop()
	s.leash.Close() // this stops it
	var forced error
	select {
	case <-s.ended:
	case <-hurry:
		forced = errors.New("the supervisor was told to stop at once")
		s.kill()
	case <-patience.C:
		forced = errors.New("the supervisor did not stop in time and was killed")
		s.kill()
	}
	return errors.Join(forced, s.exitError())
}

// kill has the supervisor kill its generations, which it does at a second
// signal, and then kills it.
func (s *supervisor) kill() {
	for range 2 {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	select {
	case <-s.ended:
	case <-time.After(stopGrace):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// endedByItself says that it ended, and how.
func (s *supervisor) endedByItself() error {
	if s.exit == nil {
		return errSupervisorEnded
	}
	return fmt.Errorf("%w: %w", errSupervisorEnded, s.exit)
}

// exitError says how the supervisor ended, if not well. It has ended.
func (s *supervisor) exitError() error {
	if s.exit == nil {
		return nil
	}
	return fmt.Errorf("the supervisor ended with %w", s.exit)
}

// logTail is how much of the log is shown, in bytes.
const logTail = 8 << 10

// tail is the end of the log.
func tail(log *os.File) string {
	size, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	from := max(0, size-logTail)
	text := make([]byte, size-from)
	n, err := log.ReadAt(text, from)
	if err != nil && err != io.EOF {
		return ""
	}
	text = text[:n]
	if from > 0 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return string(text)
}

// openLog makes a file that exists in memory only (memfd_create(2)): nothing
// is left of it, however the demo ends.
func openLog() (*os.File, error) {
	fd, err := unix.MemfdCreate("supervisor-demo-log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot keep a log in memory: %w; try --keep-log FILE", err)
	}
	return os.NewFile(uintptr(fd), "log"), nil
}
