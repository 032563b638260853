package systemdtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// heldEnv makes the process a test binary that is going to be killed.
const heldEnv = "SYSTEMD_TEST_HELD"

// TestNothingIsLeft kills another test binary that has an instance: the
// instance ends at once, and the next one to start removes the rest.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	if os.Getenv(heldEnv) != "" {
		Each(t, func(t *testing.T, m *Machine) {
			m.WriteUnit(t, "child.service", "[Service]\nExecStart=sleep 1000\nDelegate=yes\n")
			m.Systemctl(t, "start", "child")
			fmt.Printf("\nheld %d\n", m.instance.leader)
			bufio.NewReader(os.Stdin).ReadByte() // forever
		})
		return
	}
	Each(t, func(t *testing.T, m *Machine) {
		cmd := again(t, heldEnv+"=1", suitesEnv+"="+filepath.Base(t.Name()))
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		leader := startHeld(t, cmd)
		defer unix.Close(leader)
		owner := fmt.Sprintf("%d.", cmd.Process.Pid)
		if left := leftovers(t, m, owner); len(left) != 2 {
			t.Errorf("not a folder and a cgroup are to be removed, but %q", left)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		poll := []unix.PollFd{{Fd: int32(leader), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(patience.Milliseconds())); n != 1 {
			t.Fatalf("the instance outlives its test: %v", err)
		}
		m.instance.store.sweep()
		if left := leftovers(t, m, owner); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// again is this test in a process of its own.
func again(t *testing.T, env ...string) *exec.Cmd {
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// startHeld starts a test binary, waits until it has an instance and returns a
// pidfd of that one's PID 1, which the caller closes.
func startHeld(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "held %d", &pid); err == nil {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
		said = append(said, lines.Text())
	}
	_ = cmd.Wait()
	t.Fatalf("no instance came up: %q", said)
	return -1
}

// leftovers are the folders and cgroups of a test binary.
func leftovers(t *testing.T, m *Machine, owner string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(m.instance.store.runs(), owner+"*"))
	if err != nil {
		t.Fatal(err)
	}
	groups, err := openCgroups()
	if err != nil {
		t.Fatal(err)
	}
	defer groups.Close()
	found, err := filepath.Glob(groups.path(owner + "*"))
	if err != nil {
		t.Fatal(err)
	}
	left = append(left, found...)
	// The mounts of the instance are its own; here is none.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), m.instance.store.runs()) {
		t.Error("a mount of an instance is seen outside")
	}
	return left
}

// TestSkippedOrRequired runs itself where no instance can be.
func TestSkippedOrRequired(t *testing.T) {
	t.Parallel()
	if os.Getenv(storeEnv) == t.Name() {
		Each(t, func(t *testing.T, m *Machine) { t.Error("it runs") })
		return
	}
	for require, want := range map[string]string{"": "--- SKIP: TestSkippedOrRequired/trixie", "1": "--- FAIL: TestSkippedOrRequired/trixie"} {
		cmd := again(t, storeEnv+"="+t.Name(), requireEnv+"="+require, suitesEnv+"=trixie")
		out, err := cmd.CombinedOutput()
		if (err != nil) != (require != "") || !strings.Contains(string(out), want) || strings.Contains(string(out), "it runs") {
			t.Errorf("%s=%q: %v: %s", requireEnv, require, err, out)
		}
	}
}

// TestEndIsWhole also tells what an instance costs.
func TestEndIsWhole(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, m *Machine) {
		root, err := m.instance.store.root(filepath.Base(t.Name()))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		i, err := m.instance.store.boot(root)
		if err != nil {
			t.Fatal(err)
		}
		up := time.Since(begin)
		if err := i.end(); err != nil {
			t.Error(err)
		}
		t.Logf("up in %v, down in %v", up.Round(time.Millisecond), (time.Since(begin) - up).Round(time.Millisecond))
		if _, err := os.Stat(i.folder); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
		if err := syscall.Kill(i.leader, 0); err != syscall.ESRCH {
			t.Errorf("PID 1 is still there: %v", err)
		}
	})
}
