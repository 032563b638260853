package fdpass

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

func listenAt(t *testing.T, path string) *Rendezvous {
	t.Helper()
	r, err := ListenRendezvous(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRendezvousTellsWhoComes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.sock")
	leaktest.Check(t)
	r := listenAt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	child, err := DialRendezvous(path)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	supervisor, peer, err := r.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer supervisor.Close()
	defer unix.Close(peer.PIDFD)
	if peer.PID != os.Getpid() || peer.UID != os.Getuid() {
		t.Errorf("got %+v", peer)
	}
	if err := unix.PidfdSendSignal(peer.PIDFD, 0, nil, 0); err != nil {
		t.Errorf("the descriptor of the process: %v", err)
	}
	if flags, err := unix.FcntlInt(uintptr(peer.PIDFD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor of the process is inherited: %v", err)
	}
	if err := child.Send(Ready{}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := supervisor.Receive(); err != nil || m != (Ready{}) {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestCloseEndsAcceptAndRemovesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.sock")
	leaktest.Check(t)
	r := listenAt(t, path)
	ended := make(chan error, 1)
	go func() {
		_, _, err := r.Accept()
		ended <- err
	}()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := DialRendezvous(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dial: %v", err)
	}
}

// A supervisor that is killed leaves its file; one that ends late must not take
// the next one's away.
func TestRendezvousReplacesAStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.sock")
	leaktest.Check(t)
	first := listenAt(t, path)
	second := listenAt(t, path)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	child, err := DialRendezvous(path)
	if err != nil {
		t.Fatal(err)
	}
	child.Close()
	c, peer, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	unix.Close(peer.PIDFD)
}

func TestListenRendezvousErrors(t *testing.T) {
	dir := t.TempDir()
	leaktest.Check(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		file: "there is a file that is no socket", filepath.Join(dir, "none", "r"): "no such file",
		filepath.Join(dir, strings.Repeat("r", 108)): "107 bytes at most",
	} {
		_, err := ListenRendezvous(path)
		wantText(t, err, text)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file: %q, %v", data, err)
	}
}

func TestForeignRendezvousIsNotTrusted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		uid, own int
		trusted  bool
	}{{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1000, 0, false}, {1000, 1001, false}} {
		if err := trustedUser(c.uid, c.own); (err == nil) != c.trusted {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// envRendezvous and envRole make this test binary the other end of a rendezvous.
const (
	envRendezvous = "FDPASS_TEST_RENDEZVOUS"
	envRole       = "FDPASS_TEST_ROLE"
)

// playRendezvous listens, or dials, and stays until its input ends.
func playRendezvous(path string) int {
	var err error
	if os.Getenv(envRole) == "listens" {
		var r *Rendezvous
		if r, err = ListenRendezvous(path); err == nil {
			defer r.Close()
			err = os.Chmod(path, 0o666)
		}
	} else {
		_, err = net.Dial("unixpacket", path)
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString("ok")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

const foreign = 65534

// startForeign starts a process of another user, says how it went and stays
// until the end of the test.
func startForeign(t *testing.T, role, path string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRendezvous+"="+path, envRole+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: foreign, Gid: foreign}}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	said := make([]byte, 512)
	n, err := stdout.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	return string(said[:n])
}

func TestForeignUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of another user")
	}
	open := t.TempDir()
	for dir := open; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("may not connect", func(t *testing.T) {
		path := filepath.Join(open, "own.sock")
		listenAt(t, path)
		if said := startForeign(t, "dials", path); !strings.Contains(said, "permission denied") {
			t.Errorf("it says %q", said)
		}
	})
	t.Run("are known when they connect", func(t *testing.T) {
		path := filepath.Join(open, "wide.sock")
		r := listenAt(t, path)
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		if said := startForeign(t, "dials", path); said != "ok" {
			t.Fatalf("it says %q", said)
		}
		c, peer, err := r.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer unix.Close(peer.PIDFD)
		if peer.UID != foreign || peer.PID == os.Getpid() {
			t.Errorf("got %+v", peer)
		}
	})
	t.Run("are not told anything", func(t *testing.T) {
		path := filepath.Join(open, "foreign.sock")
		if said := startForeign(t, "listens", path); said != "ok" {
			t.Fatalf("it says %q", said)
		}
		_, err := DialRendezvous(path)
		wantText(t, err, "user 65534 listens there, who is neither root nor the user 0")
	})
}

func TestDuplicateHandsTheChannelOn(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	fd, err := supervisor.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("it is inherited: %v", err)
	}
	if err := child.Send(Ready{}); err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := NewConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if m, _, err := next.Receive(); err != nil || m != (Ready{}) {
		t.Errorf("got %v, %v", m, err)
	}
	if err := next.Send(Pause{ID: 1}); err != nil {
		t.Error(err)
	}
	if m, _, err := child.Receive(); err != nil || m != (Pause{ID: 1}) {
		t.Errorf("got %v, %v", m, err)
	}
	if _, err := supervisor.Duplicate(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestHungUp: the end of the peer shows before its last words are read.
func TestHungUp(t *testing.T) {
	t.Parallel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*Conn
	for i, fd := range fds {
		if ends[i], err = NewConn(fd); err != nil {
			t.Fatal(err)
		}
		defer ends[i].Close()
	}
	if err := ends[1].Send(Ready{}); err != nil || ends[0].HungUp() {
		t.Errorf("hung up while the peer is there: %v", err)
	}
	_ = ends[1].Close()
	if !ends[0].HungUp() || !ends[1].HungUp() {
		t.Error("not hung up")
	}
	if m, _, err := ends[0].Receive(); err != nil || m != (Ready{}) {
		t.Errorf("received %v, %v", m, err)
	}
}
