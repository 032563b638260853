package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/golden"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// scenarios are what is played to the supervisor. Each ends with its end.
var scenarios = map[string]struct {
	flags []string
	play  func(*notified)
}{
	"start and stop": {[]string{"--listen", "admin=unix://DIR/admin.sock"}, func(n *notified) {
		n.active()
		n.stop()
	}},
	"first generation fails": {nil, func(n *notified) {
		n.start(n.program, "-exit", "3")
		n.end(1)
	}},
	"upgrade committed": {[]string{"--overlap", "100ms", "--probe", "/"}, func(n *notified) {
		n.active()
		n.attempt(upgrade.KindUpgrade, "-say", "two")(upgrade.Committed)
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"upgrade aborted": {nil, func(n *notified) {
		n.active()
		n.attempt(upgrade.KindUpgrade, "-exit", "3")(upgrade.Aborted)
		n.until("STATUS=generation 1 active")
		n.stop()
	}},
	"upgrade rolled back": {[]string{"--bake", "1m"}, func(n *notified) {
		n.active()
		verdict := n.attempt(upgrade.KindUpgrade)
		n.until("STATUS=generation 2 baking, N s left, queue 0/LIMIT")
		n.crash(2)
		verdict(upgrade.RolledBack)
		n.until("STATUS=generation 1 active")
		n.stop()
	}},
	"upgrade by SIGHUP": {nil, func(n *notified) {
		n.active()
		n.signal(syscall.SIGHUP)
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"upgrade by SIGHUP refused": {nil, func(n *notified) {
		n.active()
		if err := os.Remove(n.program); err != nil {
			n.Fatal(err)
		}
		n.signal(syscall.SIGHUP)
		n.until("READY=1\nSTATUS=generation 1 active")
		n.stop()
	}},
	"SIGHUP during an upgrade": {[]string{"--bake", "500ms"}, func(n *notified) {
		n.active()
		verdict := n.attempt(upgrade.KindUpgrade)
		n.until("STATUS=generation 2 baking, N s left, queue 0/LIMIT")
		n.signal(syscall.SIGHUP)
		n.until("MONOTONIC_USEC=N\nSTATUS=generation 2 baking, N s left, queue 0/LIMIT")
		verdict(upgrade.Committed)
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"two SIGHUPs": {nil, func(n *notified) {
		n.active()
		slow := n.slow("1m")
		n.signal(syscall.SIGHUP)
		n.until("STATUS=generation 2 baking, N s left, queue 0/LIMIT")
		n.signal(syscall.SIGHUP)
		n.until("READY=1\nSTATUS=generation 3 active, generation 1 draining 1 connection, N s left, generation 2 draining, N s left, queue 0/LIMIT")
		n.until("STATUS=generation 3 active, generation 1 draining 1 connection, N s left, queue 0/LIMIT")
		slow.Close()
		n.until("STATUS=generation 3 active")
		n.stop()
	}},
	"rollback": {nil, func(n *notified) {
		n.active()
		n.attempt(upgrade.KindUpgrade, "-say", "two")(upgrade.Committed)
		n.until("STATUS=generation 2 active")
		n.attempt(upgrade.KindRollback)(upgrade.Committed)
		n.until("STATUS=generation 3 active")
		n.stop()
	}},
	"crash of the active generation": {nil, func(n *notified) {
		n.active()
		n.crash(1)
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"stop with a drain": {nil, func(n *notified) {
		n.active()
		slow := n.slow("700ms")
		n.stop()
		if text, err := io.ReadAll(slow); err != nil || string(text) != "hello at last\n" {
			n.Errorf("%q, %v", text, err)
		}
	}},
	"reexec": {nil, func(n *notified) {
		n.active()
		n.reexec()
		n.until("STATUS=generation 1 active")
		n.attempt(upgrade.KindUpgrade)(upgrade.Committed)
		n.until("STATUS=generation 2 active")
		n.reexec()
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"reexec during a drain": {nil, func(n *notified) {
		n.active()
		slow := n.slow("1m")
		n.signal(syscall.SIGHUP)
		n.until("READY=1\nSTATUS=generation 2 active, generation 1 draining 1 connection, N s left, queue 0/LIMIT")
		n.reexec()
		n.until("STATUS=generation 2 active, generation 1 draining 1 connection, N s left, queue 0/LIMIT")
		slow.Close()
		n.until("STATUS=generation 2 active")
		n.stop()
	}},
	"killed and taken over": {nil, func(n *notified) {
		n.active()
		n.kill()
		n.active()
		n.stop()
	}},
	"listeners of socket units": {nil, func(n *notified) {
		n.pass("http", listening(n))
		n.pass(systemd.StoreName("old"), listening(n)) // which nobody asks for any more
		n.active()
		n.stop()
	}},
	"killed in a bake": {[]string{"--bake", "1m"}, func(n *notified) {
		n.active()
		verdict := n.attempt(upgrade.KindUpgrade)
		n.until("STATUS=generation 2 baking, N s left, queue 0/LIMIT")
		n.kill()
		n.start()
		verdict(upgrade.RolledBack)
		n.until("STATUS=generation 1 active")
		n.stop()
	}},
}

// TestNotifications compares every datagram that the supervisor sends, in its
// order.
func TestNotifications(t *testing.T) {
	t.Parallel()
	for name, c := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNotified(t, c.flags...)
			c.play(n)
			golden.Compare(t, *update, filepath.Join("notify", strings.ReplaceAll(name, " ", "-")+".txt"), n.story())
		})
	}
}

// listening is a socket as a service manager has it: the very descriptor, in
// blocking mode and known to no poller, so that exec.Cmd may pass it on.
func listening(n *notified) *os.File {
	n.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		n.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	n.Cleanup(func() { f.Close() })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		n.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		n.Fatal(err)
	}
	return f
}

// TestStoredListenersAreTheSockets looks at what came with FDSTORE=1.
func TestStoredListenersAreTheSockets(t *testing.T) {
	t.Parallel()
	n := newNotified(t)
	n.start()
	_, fds := n.socket.Next(t, patience)
	if len(fds) != 1 {
		t.Fatalf("%d descriptors, want 1", len(fds))
	}
	defer unix.Close(fds[0])
	l, err := fdpass.Describe("http", fds[0])
	if err != nil {
		t.Fatal(err)
	}
	n.until("READY=1\nSTATUS=generation 1 active")
	status, err := n.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l.Address != status.Listeners[0].Address || l.Network != "tcp4" {
		t.Errorf("stored is %s %s, want %s", l.Network, l.Address, status.Listeners[0].Address)
	}
	n.stop()
}

// TestWatchdogIsTold counts pings while an upgrade runs, and while the supervisor
// is stopped.
func TestWatchdogIsTold(t *testing.T) {
	t.Parallel()
	n := newNotified(t, "--bake", "3s")
	n.watchdog = 3 * time.Second
	n.active()
	verdict := n.attempt(upgrade.KindUpgrade)
	var pings []time.Time
	for message := ""; message != "STATUS=generation 2 active"; {
		message, _ = n.socket.Next(t, patience)
		if message == "WATCHDOG=1" {
			pings = append(pings, time.Now())
		}
	}
	verdict(upgrade.Committed)
	for i := range pings[1:] {
		if gap := pings[i+1].Sub(pings[i]); gap > n.watchdog {
			t.Errorf("%v between two pings, want at most %v", gap, n.watchdog)
		}
	}
	if len(pings) < 2 {
		t.Errorf("%d pings in 3 s, want one each second", len(pings))
	}
	n.freeze()
	n.mark()
	before := len(n.socket.All())
	<-time.After(n.watchdog)
	if got := n.socket.All()[before:]; len(got) > 0 {
		t.Errorf("a stopped supervisor sent %q", got)
	}
	n.signal(syscall.SIGCONT)
	n.until("WATCHDOG=1")
	n.stop()
}

// mark returns when all that was sent before has been received.
func (n *notified) mark() {
	n.Helper()
	own, err := systemd.NewNotifier(n.socket.Getenv)
	if err != nil {
		n.Fatal(err)
	}
	if err := own.Barrier(n.Context()); err != nil {
		n.Fatal(err)
	}
}

// TestServiceManagerThatDoesNotReadHoldsNothingUp fills its queue.
func TestServiceManagerThatDoesNotReadHoldsNothingUp(t *testing.T) {
	t.Parallel()
	n := newNotified(t)
	n.env = []string{"NOTIFY_SOCKET=" + deaf(t)}
	n.start()
	n.await(func(st upgrade.Status) bool { return inRole(st, upgrade.RoleActive) == 1 })
	report, err := n.client.Attempt(t.Context(), upgrade.KindUpgrade, upgrade.Request{}, func([]byte, control.Line) {})
	if err != nil || report.Verdict != upgrade.Committed {
		t.Fatalf("%s, %v", report.Verdict, err)
	}
	t.Logf("the upgrade took %.2f s", report.DurationSeconds)
	if report.DurationSeconds > 3 { // a bake of 0.3 s; ten datagrams would take 10 s
		t.Errorf("the upgrade took %.2f s", report.DurationSeconds)
	}
	stopped := time.Now()
	n.stop()
	if took := time.Since(stopped); took > 4*barrierTimeout {
		t.Errorf("the stop took %v", took)
	}
}

// deaf is a socket whose queue is full, and that nobody reads.
func deaf(t *testing.T) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "deaf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	own, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, err = conn.Write([]byte("STATUS=full"))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return path
}

// TestGenerationsDoNotHearOfTheServiceManager looks at the environment of a
// generation, of a process that it starts, and of a probe command.
func TestGenerationsDoNotHearOfTheServiceManager(t *testing.T) {
	t.Parallel()
	n := newNotified(t)
	probed, spawned := filepath.Join(n.dir, "probed"), filepath.Join(n.dir, "spawned")
	for _, word := range []string{"sh", "-c", "env >" + probed + ".new && mv " + probed + ".new " + probed} { // whole at every moment: it is asked again and again
		n.flags = append(n.flags, "--probe-command="+word)
	}
	n.env = []string{"FDSTORE=64", "MAINPID=1", "MANAGERPID=1", "LISTEN_PIDFDID=1"}
	n.pass("http", listening(n))
	n.start(n.program, "-spawn", spawned)
	n.until("READY=1\nSTATUS=generation 1 active")
	n.private(spawned, probed)
	n.reexec() // which uses a variable of its own
	n.attempt(upgrade.KindUpgrade, "-spawn", spawned)(upgrade.Committed)
	n.private(spawned, probed)
	n.stop()
}

// private fails the test if a generation's environment, or one of those written
// to files, tells of a service manager.
func (n *notified) private(files ...string) {
	n.Helper()
	status, err := n.client.Status(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	for _, g := range status.Generations {
		files = append(files, filepath.Join("/proc", strconv.Itoa(g.PID), "environ"))
	}
	if len(files) < 3 {
		n.Fatalf("there is no generation: %+v", status)
	}
	told := regexp.MustCompile(`^(LISTEN_|NOTIFY_|WATCHDOG_|FDSTORE=|MAINPID=|MANAGERPID=|SUPERVISOR_STATE=)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			n.Fatal(err)
		}
		env := strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 || r == '\n' })
		if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }) {
			n.Errorf("%s has no PATH: %q", file, env)
		}
		for _, kv := range env {
			if told.MatchString(kv) {
				n.Errorf("%s has %s", file, kv)
			}
		}
	}
}
