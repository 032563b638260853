package programs

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/internal/rig"
	"golang.org/x/sys/unix"
)

// An alone is a site's program without a supervisor, on a listener that the test
// holds: what its own stop loses while another one of it accepts.
type alone struct {
	*site
	socket *listen.Socket
	log    *os.File
	count  int
}

// alone opens the site's listener.
func (s *site) alone() *alone {
	s.Helper()
	spec, err := listen.ParseSpec("http=tcp://" + s.address)
	if err != nil {
		s.Fatal(err)
	}
	socket, err := listen.Open(context.WithoutCancel(s.Context()), spec)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = socket.Close() })
	if err := unix.SetNonblock(socket.FD, s.protocol == "nginx"); err != nil {
		s.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "alone.log"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = log.Close() })
	return &alone{site: s, socket: socket, log: log}
}

// A running is one process of the program; the test ends it.
type running struct {
	pid   int
	ended bool
}

// start starts the program with the listener at descriptor 3, and returns when it
// is ready.
func (a *alone) start() *running {
	a.Helper()
	a.count++
	path := filepath.Join(a.dir, "n"+strconv.Itoa(a.count))
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		a.Fatal(err)
	}
	defer notices.Close()
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "LISTEN_") })
	env = append(env, "LISTEN_FDS=1", "LISTEN_FDNAMES=http", "NOTIFY_SOCKET="+path)
	switch a.protocol {
	case "nginx":
		env = append(env, "NGINX=3;")
	case "einhorn":
		env = append(env, "EINHORN_FD_COUNT=1", "EINHORN_FD_0=3")
	case "server-starter":
		env = append(env, "SERVER_STARTER_PORT="+a.address+"=3", "SERVER_STARTER_GENERATION="+strconv.Itoa(a.count))
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		a.Fatal(err)
	}
	argv := append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}, a.words()...)
	pid, err := syscall.ForkExec(shell, argv, &syscall.ProcAttr{
		Dir: a.dir, Env: env, Sys: &syscall.SysProcAttr{Setpgid: true},
		Files: []uintptr{0, a.log.Fd(), a.log.Fd(), uintptr(a.socket.FD)}, // by number: see CONTRIBUTING.md
	})
	if err != nil {
		a.Fatal(err)
	}
	r := &running{pid: pid}
	a.Cleanup(func() {
		if !r.ended {
			_ = syscall.Kill(-r.pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(r.pid, nil, 0, nil)
		}
	})
	a.ready(notices)
	return r
}

// ready waits until the program says that it is, or long enough where it has no
// word for it.
func (a *alone) ready(notices *net.UnixConn) {
	a.Helper()
	if a.quiet || a.protocol == "einhorn" { // to which nobody listens here
		<-time.After(unspoken)
		return
	}
	if err := notices.SetReadDeadline(time.Now().Add(rig.Patience)); err != nil {
		a.Fatal(err)
	}
	text := make([]byte, 4096)
	for {
		n, err := notices.Read(text)
		if err != nil {
			a.Fatalf("%s does not get ready: %v", a.name, err)
		}
		if strings.Contains(string(text[:n]), "READY=1") {
			return
		}
	}
}

// stop stops a process of the program by its own means and waits for its end.
func (a *alone) stop(r *running) {
	a.Helper()
	if err := syscall.Kill(r.pid, a.graceful); err != nil {
		a.Fatal(err)
	}
	late := time.AfterFunc(rig.Patience, func() { _ = syscall.Kill(-r.pid, syscall.SIGKILL) })
	defer late.Stop()
	for {
		_, err := syscall.Wait4(r.pid, nil, 0, nil)
		if err != syscall.EINTR { //nolint:errorlint // of a system call
			break
		}
	}
	r.ended = true
}
