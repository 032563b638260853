package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

const (
	// envInside says that this is a test run again, inside a cgroup of its own.
	envInside = "CGROUP_TEST_INSIDE"
	// envRole makes this test binary a process that a test needs.
	envRole = "CGROUP_TEST_ROLE"
	// patience is for what should happen at once, on a busy machine.
	patience = 20 * time.Second
)

// TestMain fails when a test leaves a descriptor open.
func TestMain(m *testing.M) {
	if role, ok := os.LookupEnv(envRole); ok {
		os.Exit(play(role))
	}
	os.Exit(leaktest.Run(m, nil))
}

// play is a process that a test needs; it lives until its standard input ends.
func play(role string) int {
	var keep []byte
	switch role {
	case "eat": // 64 MiB
		keep = bytes.Repeat([]byte("x"), 64<<20)
	case "own": // and start generation 2, as a supervisor that will be killed
		if err := ownAndStart(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("there")
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(keep)
	return 0
}

func ownAndStart() error {
	tree, err := Own()
	if err != nil {
		return err
	}
	group, err := tree.Group(2)
	if err != nil {
		return err
	}
	sleep := exec.Command("sleep", "1000")
	sleep.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: group.FD()}
	return sleep.Start()
}

// inside runs the calling test again in a process of its own, in a cgroup that
// prepare has made ready below the mount, and that is removed afterwards. It
// returns true in that process; there the test begins, elsewhere it is over.
func inside(t *testing.T, uid uint32, prepare func(t *testing.T, dir string) (in string)) bool {
	t.Helper()
	if os.Getenv(envInside) != "" {
		return true
	}
	t.Parallel()
	dir := makeCgroup(t)
	in := prepare(t, dir)
	fd, err := unix.Open(in, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	self, err := os.Open("/proc/self/exe") // its folder may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), envInside+"="+dir)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("inside: %v\n%s", err, out)
	}
	return false
}

// makeCgroup makes a cgroup for a test, which is removed at its end with all that
// is in it. Where that is not possible, the test is skipped.
func makeCgroup(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a cgroup here")
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	all := mounts(text)
	if len(all) == 0 {
		t.Skip("cgroup v2 is not mounted here")
	}
	dir, err := os.MkdirTemp(all[len(all)-1].point, "supervisor-test-")
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // as others are
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		g := &Group{fd: fd, path: dir}
		if populated, err := g.Populated(); populated || err != nil {
			t.Errorf("the test left processes: %s %v", g.describe(), err)
		}
		if err := errors.Join(g.Kill(), g.Remove(within(t))); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// delegate marks a cgroup as systemd does.
func delegate(t *testing.T, dir string) string {
	t.Helper()
	if err := unix.Setxattr(dir, "user.delegate", []byte("1"), 0); err != nil {
		t.Skipf("cgroups have no attributes here: %v", err)
	}
	return dir
}

func own(t *testing.T) *Tree {
	t.Helper()
	tree, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// ownGroup makes the group of generation 1.
func ownGroup(t *testing.T) *Group {
	t.Helper()
	g, err := own(t).Group(1)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// start starts a program in the group, ended and waited for with the test.
func start(t *testing.T, g *Group, env string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, g.FD()
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	})
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || !strings.HasPrefix(string(line), "there") {
		t.Fatalf("%q says %q, %v", args, line, err)
	}
	return cmd
}

// await polls until ok, or fails the test.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// ownCgroup is what the kernel says of this process.
func ownCgroup(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	return ownPath(text)
}
