package health

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ownNamespace puts the rest of the test into a network namespace that ends
// with it. The test's goroutine keeps its thread, which is never unlocked and
// so ends with the goroutine: nobody else finds itself in there. What the test
// does in other goroutines happens outside.
func ownNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Geteuid() == 0 {
			t.Fatalf("cannot make a network namespace: %v", err)
		}
		t.Skipf("cannot make a network namespace, which takes root: %v", err)
	}
	raiseLoopback(t)
}

func raiseLoopback(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatalf("cannot bring up lo: %v", err)
	}
}

// sysctl sets a value of the namespace that the test made.
func sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Skipf("cannot set net/%s: %v", name, err)
	}
}

// listen returns the descriptor of a listener, which ends with the test.
func listen(t testing.TB, protocol int, at unix.Sockaddr, backlog int, flags ...int) int {
	t.Helper()
	fd := socketFor(t, protocol, at)
	for _, flag := range flags {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, flag, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return fd
}

// socketFor returns a non-blocking stream socket that ends with the test.
func socketFor(t testing.TB, protocol int, address unix.Sockaddr) int {
	t.Helper()
	domain := unix.AF_INET
	switch address.(type) {
	case *unix.SockaddrInet6:
		domain = unix.AF_INET6
	case *unix.SockaddrUnix:
		domain = unix.AF_UNIX
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// connect returns a client's socket whose handshake has ended.
func connect(t testing.TB, to unix.Sockaddr) int {
	t.Helper()
	fd := knock(t, to)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(poll, 5000); err != nil || n != 1 || poll[0].Revents&unix.POLLERR != 0 {
		t.Fatalf("not connected to %+v: %d, %v, events %#x", to, n, err, poll[0].Revents)
	}
	return fd
}

// knock returns a client's socket that tries to connect.
func knock(t testing.TB, to unix.Sockaddr) int {
	t.Helper()
	fd := socketFor(t, 0, to)
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		t.Fatalf("cannot connect to %+v: %v", to, err)
	}
	return fd
}

// addressOf returns where clients reach a listener.
func addressOf(t testing.TB, fd int) unix.Sockaddr {
	t.Helper()
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func portOf(t testing.TB, fd int) int {
	t.Helper()
	port, err := socket{fd: fd}.port()
	if err != nil {
		t.Fatal(err)
	}
	return int(port)
}

// v4 and v6 are addresses of the loopback interface.
func v4(last byte, port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, last}, Port: port}
}

func v6(port int) *unix.SockaddrInet6 {
	return &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: port}
}

// sampler returns a Sampler that ends with the test.
func sampler(t testing.TB, fds ...int) *Sampler {
	t.Helper()
	s, err := NewSampler(fds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sample looks at all queues of s.
func sample(t testing.TB, s *Sampler) []Sample {
	t.Helper()
	into := make([]Sample, len(s.sockets))
	if err := s.Sample(into); err != nil {
		t.Fatal(err)
	}
	return into
}

// waiting looks into all queues of s.
func waiting(t testing.TB, s *Sampler) []Waiting {
	t.Helper()
	into, want := make([]Waiting, len(s.sockets)), make([]bool, len(s.sockets))
	for i := range want {
		want[i] = true
	}
	if cost, err := s.Waiting(into, want); err != nil || cost <= 0 {
		t.Fatalf("cost %v, error %v", cost, err)
	}
	return into
}

// eventually asks until the answer is yes: packets on lo take their time on a
// busy machine.
func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !yes(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// depthBecomes waits until listener i of s has a depth.
func depthBecomes(t testing.TB, s *Sampler, i int, depth uint32) {
	t.Helper()
	var last Sample
	defer func() {
		if t.Failed() {
			t.Logf("last sample of listener %d: %+v, want depth %d", i, last, depth)
		}
	}()
	eventually(t, "the depth", func() bool { last = sample(t, s)[i]; return last.Depth == depth })
}

// output runs a command of iproute2 in the thread's network namespace.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (iproute2)", name)
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}
