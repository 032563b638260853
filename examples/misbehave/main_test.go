package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// A victim is one run of the program under a supervisor that is a test.
type victim struct {
	t         *testing.T
	cmd       *exec.Cmd
	conn      *fdpass.Conn
	output    *bytes.Buffer
	listener  *net.TCPListener
	probePath string
	hello     fdpass.Hello
	offered   error
	ended     chan error
}

// limit is how long a test waits for what must come.
const limit = 10 * time.Second

// program builds the example once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "misbehave")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "misbehave")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// start runs the program with the flags, and hands it a listener and a probe.
func start(t *testing.T, flags ...string) *victim {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	conn, end, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	v := &victim{t: t, conn: conn, output: new(bytes.Buffer), ended: make(chan error, 1)}
	v.cmd = exec.Command(binary, flags...)
	v.cmd.Env = append(os.Environ(), fdpass.EnvFD+"=3")
	v.cmd.ExtraFiles = []*os.File{end} // a channel, not a listener
	v.cmd.Stderr = v.output
	v.cmd.WaitDelay = time.Second // a grandchild may hold stderr
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { v.ended <- v.cmd.Wait() }() // joined by the cleanup
	t.Cleanup(func() {
		_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
		conn.Close()
		select {
		case <-v.ended:
		case <-time.After(limit):
			t.Error("it does not end")
		}
	})
	v.offer()
	return v
}

func (v *victim) offer() {
	v.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		v.t.Fatal(err)
	}
	v.listener = l.(*net.TCPListener)
	v.t.Cleanup(func() { l.Close() })
	v.probePath = filepath.Join(v.t.TempDir(), "p")
	p, err := net.Listen("unix", v.probePath)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { p.Close() })
	described, err := fdpass.Describe("http", descriptor(v.t, v.listener))
	if err != nil {
		v.t.Fatal(err)
	}
	_ = v.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	v.hello, v.offered = fdpass.Offer(v.conn, fdpass.Welcome{Service: "test", Generation: 2},
		descriptor(v.t, p.(syscall.Conn)), []fdpass.Listener{described})
	_ = v.conn.SetReadDeadline(time.Time{})
}

// descriptor borrows the descriptor of c, which must stay open.
func descriptor(t *testing.T, c syscall.Conn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// receive returns the next message that is no statistics, or an error.
func (v *victim) receive(within time.Duration) (fdpass.Message, error) {
	_ = v.conn.SetReadDeadline(time.Now().Add(within))
	for {
		m, _, err := v.conn.Receive()
		if _, stats := m.(fdpass.Stats); !stats {
			return m, err
		}
	}
}

func (v *victim) wantReady() {
	v.t.Helper()
	if v.offered != nil {
		v.t.Fatalf("the handoff failed: %v", v.offered)
	}
	if m, err := v.receive(limit); err != nil || m != (fdpass.Ready{}) {
		v.t.Fatalf("%#v, %v instead of ready", m, err)
	}
}

// wantSilence says that nothing comes over the channel for a while.
func (v *victim) wantSilence() {
	v.t.Helper()
	if m, err := v.receive(300 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		v.t.Errorf("%#v, %v instead of silence", m, err)
	}
}

// wantExit waits for the end and compares its status, or the signal.
func (v *victim) wantExit(want string) {
	v.t.Helper()
	select {
	case err := <-v.ended:
		v.ended <- err
		if got := fmt.Sprint(err); got != want {
			v.t.Errorf("it ended with %q, want %q; output:\n%s", got, want, v.output)
		}
	case <-time.After(limit):
		v.t.Error("it does not end")
	}
}

func (v *victim) wantAlive() {
	v.t.Helper()
	select {
	case err := <-v.ended:
		v.ended <- err
		v.t.Errorf("it ended with %v; output:\n%s", err, v.output)
	case <-time.After(200 * time.Millisecond):
	}
}

// get asks for / over a new connection.
func (v *victim) get(within time.Duration) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: within}
	response, err := client.Get("http://" + v.listener.Addr().String() + "/")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && !strings.HasPrefix(string(body), "generation 2,") {
		err = fmt.Errorf("body %q", body)
	}
	return err
}

func (v *victim) wantService() {
	v.t.Helper()
	if err := v.get(limit); err != nil {
		v.t.Errorf("it does not serve: %v", err)
	}
}

func (v *victim) health() int {
	v.t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", v.probePath)
		},
	}}
	response, err := client.Get("http://probe/")
	if err != nil {
		v.t.Error(err)
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// wantWell says that a probe finds nothing.
func (v *victim) wantWell() {
	v.t.Helper()
	if got := v.health(); got != http.StatusOK {
		v.t.Errorf("health %d", got)
	}
}

func (v *victim) send(m fdpass.Message) {
	v.t.Helper()
	if err := v.conn.Send(m); err != nil {
		v.t.Fatal(err)
	}
}

// TestEachFlagIsAFault starts the program with each flag and looks whether it is
// bad in that way, and in that way only.
func TestEachFlagIsAFault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		flags string
		check func(*victim)
	}{
		{"-version=1", func(v *victim) {
			v.wantReady()
			v.wantService()
			v.send(fdpass.Drain{ID: 1, DeadlineMS: 5000})
			v.wantExit("<nil>")
		}},
		{"-exit-before-hello=9", func(v *victim) { v.wantExit("exit status 9") }},
		{"-hang-before-hello", func(v *victim) {
			v.wantAlive()
			if v.hello.PID != 0 {
				v.t.Error("it said hello")
			}
		}},
		{"-start-delay=200ms", (*victim).wantReady},
		{"-panic", func(v *victim) { v.wantExit("exit status 2") }},
		{"-protocol=7", func(v *victim) {
			if !errors.Is(v.offered, fdpass.ErrProtocol) {
				v.t.Errorf("the handoff: %v", v.offered)
			}
		}},
		{"-wrong-cookies", func(v *victim) {
			if !errors.Is(v.offered, fdpass.ErrCookie) {
				v.t.Errorf("the handoff: %v", v.offered)
			}
		}},
		{"-crash-before-ready", func(v *victim) { v.wantExit("exit status 1") }},
		{"-hang-before-ready", func(v *victim) { v.wantSilence(); v.wantAlive() }},
		{"-never-ready", func(v *victim) { v.wantSilence(); v.wantAlive() }},
		{"-fail=no database", func(v *victim) {
			if m, err := v.receive(limit); m != (fdpass.Failed{Reason: "no database"}) {
				v.t.Errorf("%#v, %v", m, err)
			}
		}},
		{"-ready-then-exit", func(v *victim) { v.wantReady(); v.wantExit("exit status 1") }},
		{"-crash-after=100ms", func(v *victim) { v.wantReady(); v.wantExit("exit status 1") }},
		{"-fail-after=100ms", func(v *victim) {
			v.wantReady()
			if m, err := v.receive(limit); m != (fdpass.Failed{Reason: "failed, as asked"}) {
				v.t.Errorf("%#v, %v", m, err)
			}
			v.wantService()
		}},
		{"-unhealthy", func(v *victim) {
			v.wantReady()
			if got := v.health(); got != 503 {
				v.t.Errorf("health %d", got)
			}
		}},
		{"-unhealthy-after=500ms", func(v *victim) {
			v.wantReady()
			if got := v.health(); got != 200 {
				v.t.Errorf("health %d at first", got)
			}
			<-time.After(500 * time.Millisecond)
			if got := v.health(); got != 503 {
				v.t.Errorf("health %d later", got)
			}
		}},
		{"-garbage", func(v *victim) {
			var bad *fdpass.MessageError
			if m, err := v.receive(limit); !errors.As(err, &bad) {
				v.t.Errorf("%#v, %v", m, err)
			}
		}},
		{"-close-channel", func(v *victim) {
			if m, err := v.receive(limit); !errors.Is(err, io.EOF) {
				v.t.Errorf("%#v, %v", m, err)
			}
			v.wantAlive()
		}},
		{"-flood-channel", func(v *victim) {
			for range 1000 {
				if m, err := v.receive(limit); err != nil {
					v.t.Fatalf("%#v, %v", m, err)
				}
			}
		}},
		{"-ignore-pause", func(v *victim) {
			v.wantReady()
			v.send(fdpass.Pause{ID: 1})
			v.wantSilence()
			v.wantService()
		}},
		{"-ignore-resume", func(v *victim) {
			v.wantReady()
			v.send(fdpass.Pause{ID: 1})
			if m, err := v.receive(limit); err != nil {
				v.t.Errorf("%#v, %v", m, err)
			}
			v.send(fdpass.Resume{ID: 2})
			v.wantSilence()
			if v.get(300*time.Millisecond) == nil {
				v.t.Error("it was resumed")
			}
		}},
		{"-ignore-drain", func(v *victim) {
			v.wantReady()
			v.send(fdpass.Drain{ID: 1, DeadlineMS: 100})
			v.wantSilence()
			v.wantService()
		}},
		{"-ready-late", func(v *victim) {
			v.wantSilence()
			v.wantService()
			v.send(fdpass.Drain{ID: 1, DeadlineMS: 100})
			v.wantReady()
		}},
		{"-ignore-term", func(v *victim) {
			v.wantReady()
			v.wantService()
			<-time.After(100 * time.Millisecond) // a while after ready
			_ = v.cmd.Process.Signal(syscall.SIGTERM)
			v.wantAlive()
			v.wantService()
		}},
		{"-stop-accepting-after=2", func(v *victim) {
			v.wantReady()
			v.wantService()
			v.wantService()
			if v.get(300*time.Millisecond) == nil {
				v.t.Error("it accepts a third connection")
			}
			v.wantQueued(1, 1)
			v.wantWell()
		}},
		{"-stall-after=500ms", func(v *victim) {
			v.wantReady()
			<-time.After(600 * time.Millisecond) // the time begins with the first connection
			for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
				v.wantService()
			}
			<-time.After(300 * time.Millisecond)
			_ = v.get(300 * time.Millisecond) // the accept under way may take it
			if v.get(300*time.Millisecond) == nil {
				v.t.Error("it accepts on")
			}
			v.wantQueued(1, 2)
			v.wantWell()
			v.send(fdpass.Drain{ID: 1, DeadlineMS: 5000})
			v.wantExit("<nil>")
		}},
		{"-block-handlers-after=2", func(v *victim) {
			v.wantReady()
			v.wantService()
			v.wantService()
			for range 3 {
				if v.get(100*time.Millisecond) == nil {
					v.t.Error("it answers a third request")
				}
			}
			v.wantQueued(0, 0)
			v.wantWell()
			v.send(fdpass.Drain{ID: 1, DeadlineMS: 100})
			v.wantExit("<nil>")
		}},
		{"-block-handlers-after=0", func(v *victim) {
			v.wantReady()
			if v.get(300*time.Millisecond) == nil {
				v.t.Error("it answers")
			}
			v.wantWell()
		}},
		{"-slow-accept=300ms", func(v *victim) {
			v.wantReady()
			v.wantService()
			start := time.Now()
			v.wantService()
			if took := time.Since(start); took < 200*time.Millisecond {
				v.t.Errorf("accepted after %v", took)
			}
			start = time.Now()
			var all sync.WaitGroup
			for range 3 {
				all.Go(v.wantService)
			}
			all.Wait()
			if took := time.Since(start); took < 600*time.Millisecond {
				v.t.Errorf("3 at once were accepted after %v", took)
			}
			v.wantWell()
		}},
		{"-shutdown-listener", func(v *victim) {
			if _, err := v.receive(limit); err != nil { // ready or failed
				v.t.Error(err)
			}
			if err := v.get(limit); !errors.Is(err, syscall.ECONNREFUSED) {
				v.t.Errorf("the listener still listens: %v", err)
			}
		}},
		{"-set-blocking", func(v *victim) {
			v.wantReady()
			flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(descriptor(v.t, v.listener)), syscall.F_GETFL, 0)
			if errno != 0 || flags&syscall.O_NONBLOCK != 0 {
				v.t.Errorf("flags %#x, %v", flags, errno)
			}
		}},
		{"-grandchild", func(v *victim) {
			v.wantReady()
			_ = v.cmd.Process.Kill()
			v.wantExit("signal: killed")
			if err := syscall.Kill(-v.cmd.Process.Pid, 0); err != nil {
				v.t.Errorf("nothing is left of its group: %v", err)
			}
		}},
	} {
		t.Run(test.flags, func(t *testing.T) {
			t.Parallel()
			test.check(start(t, test.flags))
		})
	}
}
