package systemd

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// envInherit makes this test binary a service that tells what it inherited.
const envInherit = "SYSTEMD_TEST_INHERIT"

// TestMain fails when a test leaves a descriptor open.
func TestMain(m *testing.M) {
	if how, ok := os.LookupEnv(envInherit); ok {
		inheritAndTell(how)
		os.Exit(0)
	}
	// What these tests were started with is not for the services that they start.
	if err := unix.CloseRange(firstFD, 1<<31, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	os.Exit(leaktest.Run(m, nil))
}

// told is what a service tells of what it inherited.
type told struct {
	Inherited   Inherited
	Error       string
	Inheritable []int          // what is not close-on-exec of these
	Open        map[int]string // what is open, from 3 on, and what it is
	Blocking    []int          // what is blocking of these
	Environment []string
}

// inheritAndTell is a service started by systemd, but for LISTEN_PID=self, which
// only the service itself can set. With "open" it has opened a file before.
func inheritAndTell(how string) {
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	if how == "open" {
		if _, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			panic(err)
		}
	}
	var t told
	var err error
	if t.Inherited, err = Inherit(); err != nil {
		t.Error = err.Error()
	}
	t.look()
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "LISTEN_") {
			t.Environment = append(t.Environment, e)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
		panic(err)
	}
}

// look tells what is open, what the runtime has opened among it: its epoll, and
// what it reads the limits of its cgroup from.
func (t *told) look() {
	t.Open = map[int]string{}
	for fd, name := range leaktest.Open() {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		status, statusErr := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if fd < firstFD || err != nil || statusErr != nil {
			continue
		}
		t.Open[fd] = name
		if flags&unix.FD_CLOEXEC == 0 {
			t.Inheritable = append(t.Inheritable, fd)
		}
		if status&unix.O_NONBLOCK == 0 {
			t.Blocking = append(t.Blocking, fd)
		}
	}
}

// startWith runs this test binary with descriptors at 3 and on, as systemd
// starts a service, and returns what it tells. It borrows the descriptors.
func startWith(t *testing.T, how string, env []string, fds ...int) told {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := []uintptr{0, w.Fd(), 2}
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	clean := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "LISTEN_") })
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args[:1], &syscall.ProcAttr{
		Env:   slices.Concat(clean, []string{envInherit + "=" + how, "GORACE=atexit_sleep_ms=0"}, env),
		Files: files,
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, readErr := io.ReadAll(r)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status != 0 {
		t.Fatalf("the service ended with %#x, %v", status, err)
	}
	var got told
	if err := json.Unmarshal(data, &got); err != nil || readErr != nil {
		t.Fatalf("%s: %v, %v", data, err, readErr)
	}
	return got
}

// wantText checks for an error that says all of the texts.
func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error is %q, want one that says %q", err, text)
		}
	}
}
