package systemdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commandLimit is how long one command of the harness itself may take inside;
// `systemctl stop` of a unit that does not stop takes 90 s by default.
const commandLimit = 2 * time.Minute

// A Machine is one booted systemd. All its methods may be called concurrently,
// from the test that it was given to and until that test ends.
type Machine struct {
	// Version is that of systemd, as 257.
	Version int
	// Dir is a folder that has the same path inside and outside, for binaries,
	// sockets and results. Everybody may read it, root may write.
	Dir string

	instance *instance
}

// WriteUnit writes a unit file, as "x.service" or "x.service.d/y.conf". It
// takes effect with the next Reload.
func (m *Machine) WriteUnit(t testing.TB, name, text string) {
	t.Helper()
	path := m.Path("/etc/systemd/system/" + name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatalf("cannot write unit %s: %v", name, err)
	}
}

// Path returns where this process finds a file of the instance.
func (m *Machine) Path(inside string) string {
	return filepath.Join("/proc", strconv.Itoa(m.instance.leader), "root", inside)
}

// Reload has systemd read the unit files again.
func (m *Machine) Reload(t testing.TB) {
	t.Helper()
	m.Systemctl(t, "daemon-reload")
}

// Systemctl runs systemctl, fails the test on an error and returns what was
// written to stdout without the last line break.
func (m *Machine) Systemctl(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := m.TrySystemctl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TrySystemctl is Systemctl for what may fail. The error has what was written
// to stderr, and errors.As finds the *exec.ExitError in it.
func (m *Machine) TrySystemctl(ctx context.Context, args ...string) (string, error) {
	return m.output(ctx, "systemctl", args...)
}

// Show returns one property of a unit, as `systemctl show` tells it.
func (m *Machine) Show(t testing.TB, unit, property string) string {
	t.Helper()
	return m.Systemctl(t, "show", "--property="+property, "--value", "--", unit)
}

// Journal returns what journalctl prints with these arguments, once all that
// was logged before the call is in the journal.
func (m *Machine) Journal(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit) // a cleanup may ask too
	defer cancel()
	_, err := m.output(ctx, "journalctl", "--sync")
	var out string
	if err == nil {
		out, err = m.output(ctx, "journalctl", append([]string{"--no-pager", "--quiet"}, args...)...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Command returns a command that will run inside the instance: in its
// namespaces and root, as root, in "/", with an environment of its own. The
// process of the Cmd is nsenter(1), the command its only child. When ctx ends
// the command is killed. Its exit status is that of the Cmd.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(m.instance.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = environment()
	// nsenter stays to pass the exit status on, and would leave its child behind.
	cmd.Cancel = func() error { return killChildren(cmd.Process.Pid) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// environment is what runs inside is given.
func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root",
		"SYSTEMD_PAGER=cat", "SYSTEMD_COLORS=0", "SYSTEMD_URLIFY=0",
	}
}

// killChildren kills the children of a process that has one thread and is not
// reaped yet (proc_pid_task(5)).
func killChildren(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return err
	}
	for _, child := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(n, syscall.SIGKILL)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// output runs a command inside and returns its stdout without the last line
// break.
func (m *Machine) output(ctx context.Context, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := m.Command(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cannot run %s %s in systemd %d: %w: %s", name, strings.Join(args, " "), m.Version, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// Await waits until cond holds and fails the test if it does not within
// timeout. cond is asked again and again, on the test's goroutine.
func (m *Machine) Await(t testing.TB, what string, timeout time.Duration, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-m.instance.ended:
			t.Fatalf("systemd %d has ended, waiting for: %s", m.Version, what)
		case <-limit.C:
			if !cond() { // the machine may have been too busy to ask
				t.Fatalf("systemd %d: not within %v: %s", m.Version, timeout, what)
			}
			return
		}
	}
}

// Kill sends a signal to a process by its pid inside.
func (m *Machine) Kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	// A folder of /proc does as a pidfd (pidfd_send_signal(2)): no other
	// process can come under the signal, and none outside is named.
	fd, err := unix.Open(m.Path("/proc/"+strconv.Itoa(pid)), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if err != nil {
		t.Fatalf("cannot send %v to process %d of systemd %d: %v", sig, pid, m.Version, err)
	}
}
