package service

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	traffic "example.com/supervisor/internal/load"
	"example.com/supervisor/systemd/notifytest"
)

// pressure sends new connections and kept ones until the end is called, which
// expects that none failed, and returns how many answers each process gave.
func pressure(t *testing.T, target string) (end func() map[string]uint64) {
	t.Helper()
	run, err := traffic.Start(t.Context(), traffic.Config{Target: target, Duration: time.Minute, Timeout: 30 * time.Second, Traffic: []traffic.Traffic{
		{Pattern: traffic.NewConnection, Rate: 100},
		{Pattern: traffic.KeepAlive, Clients: 5, Rate: 20},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop() })
	return func() map[string]uint64 {
		t.Helper()
		before := run.Snapshot().OK
		eventually(t, "answers", func() bool { return run.Snapshot().OK > before+50 })
		r := run.Stop()
		if r.Failed > 0 {
			t.Errorf("%d of %d requests failed: %v; %+v, %+v", r.Failed, r.Requests, r.FailedByKind, r.Traffic[0].Failures, r.Traffic[1].Failures)
		}
		t.Logf("%d requests, %d failed, by process %v", r.Requests, r.Failed, r.Generations)
		return r.Generations
	}
}

// TestHangupsUpgradeUnderLoad: five upgrades, and no request is lost.
func TestHangupsUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"http=tcp://127.0.0.1:0", "http=unix://" + filepath.Join(t.TempDir(), "s")} {
		t.Run(spec[:9], func(t *testing.T) {
			t.Parallel()
			p := act(t, role{Listen: []string{spec}}, nil)
			target, path := "http://"+p.address("http"), ""
			if strings.Contains(spec, "unix") {
				path = p.address("http")
				target = "unix://" + path
			}
			end := pressure(t, target)
			pid := p.pid
			for n := range 5 {
				pid = p.upgrade(pid, n+1)
			}
			if by := end(); len(by) != 6 {
				t.Errorf("%d processes answered instead of 6", len(by))
			}
			if _, err := os.Stat(path); path != "" && err != nil {
				t.Errorf("the socket's file: %v", err)
			}
			p.stop(pid)
			if _, err := os.Stat(path); path != "" && !os.IsNotExist(err) {
				t.Errorf("the socket's file is left: %v", err)
			}
		})
	}
}

// TestBadSuccessorChangesNothing: the process stays, tells why, loses nothing, and
// the next upgrade succeeds.
func TestBadSuccessorChangesNothing(t *testing.T) {
	t.Parallel()
	const opened = "http=tcp://127.0.0.1:0"
	for _, c := range []struct {
		name string
		role role
		want string // of the log
	}{
		{exits, role{Mood: exits}, "exit status 7"},
		{hangs, role{Mood: hangs}, "timed out"},
		{fails, role{Mood: fails}, "exit status 7: the disk is on fire"},
		{accepts, role{Mood: accepts}, "exit status 7"},
		{"cannot listen", role{Listen: []string{opened, "more=tcp://192.0.2.1:80"}}, `cannot open listener .*more.*no such address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			good := role{Listen: []string{opened}}
			if c.name == hangs {
				good.Timeout = 2 * time.Second
			}
			p := act(t, good, nil)
			end := pressure(t, "http://"+p.address("http"))
			bad := c.role
			if bad.Listen == nil {
				bad.Listen = good.Listen
			}
			p.says("msg=ready", 1)
			p.next(bad)
			p.signal(p.pid, syscall.SIGHUP)
			p.says(`msg="the upgrade failed; serving on" err=.*`+c.want, 1)
			p.next(good)
			pid := p.upgrade(p.pid, 1)
			if by := end(); len(by) != 2 {
				t.Errorf("answers by %v", by)
			}
			p.stop(pid)
			if strings.Contains(strings.Join(p.log, "\n"), "ACCEPTED") {
				t.Error("the candidate accepted before it was told to serve")
			}
		})
	}
}

// TestSecondHangupIsLogged, and an end in the midst of an upgrade is one.
func TestSecondHangupIsLogged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	r := role{Listen: []string{"http=unix://" + path}}
	p := act(t, r, nil)
	p.says("msg=ready", 1)
	r.Mood = hangs
	p.next(r)
	p.signal(p.pid, syscall.SIGHUP)
	p.says("msg=upgrading", 1)
	p.signal(p.pid, syscall.SIGHUP)
	p.says("an upgrade is under way", 1)
	p.stop(p.pid) // returns when the candidate has ended too
	p.says("msg=drained", 1)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

// TestUpgradeChangesListeners: what the new release does not have is closed when
// it serves, with its file, and what it has besides is opened.
func TestUpgradeChangesListeners(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	http, gone, added := "http=tcp://127.0.0.1:0", filepath.Join(dir, "gone"), filepath.Join(dir, "added")
	pidFile := filepath.Join(dir, "pid")
	p := act(t, role{Listen: []string{http, "a=unix://" + gone}, PIDFile: pidFile}, nil)
	p.says("msg=ready", 1)
	bad := role{Listen: []string{http, "b=unix://" + added}, Mood: fails}
	p.next(bad)
	p.signal(p.pid, syscall.SIGHUP)
	p.says("the upgrade failed", 1)
	if _, err := os.Stat(gone); err != nil {
		t.Error(err)
	}
	bad.Mood, bad.PIDFile = "", pidFile
	p.next(bad)
	pid := p.upgrade(p.pid, 1)
	eventually(t, "the file that is not wanted is gone", func() bool { _, err := os.Stat(gone); return os.IsNotExist(err) })
	if text, err := os.ReadFile(pidFile); err != nil || string(text) != strconv.Itoa(pid)+"\n" {
		t.Errorf("PID file %q, %v; want %d", text, err, pid)
	}
	dial(t, &net.UnixAddr{Name: added, Net: "unix"}).Close()
	p.stop(pid)
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestDatagramsThroughUpgrades: each that is sent is answered.
func TestDatagramsThroughUpgrades(t *testing.T) {
	t.Parallel()
	p := act(t, role{Listen: []string{"dns=udp://127.0.0.1:0"}}, nil)
	c, err := net.Dial("udp", p.address("dns"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.says("msg=ready", 1)
	pid := p.pid
	var pinging sync.WaitGroup
	stop := make(chan struct{})
	sent, by := 0, map[string]bool{}
	pinging.Go(func() {
		for !isClosed(stop) {
			answer, err := ask(c)
			if err != nil {
				t.Errorf("datagram %d: %v", sent, err)
				return
			}
			by[answer] = true
			sent++
		}
	})
	for n := range 3 {
		pid = p.upgrade(pid, n+1)
	}
	close(stop)
	pinging.Wait()
	t.Logf("%d datagrams answered, by %v", sent, by)
	if got, err := ask(c); got != "ping "+strconv.Itoa(pid) || err != nil || len(by) < 3 {
		t.Errorf("%q, %v; answers by %v", got, err, by)
	}
	p.stop(pid)
}

// TestSocketsOfSystemd: they are taken by name, survive an upgrade, and what waits
// in them at the end is left to systemd.
func TestSocketsOfSystemd(t *testing.T) {
	t.Parallel()
	notify := notifytest.Listen(t)
	dns, http := open(t, "x=udp://127.0.0.1:0"), open(t, "y=tcp://127.0.0.1:0")
	r := role{Listen: []string{"http=tcp://127.0.0.1:1", "dns=udp://127.0.0.1:1"}, PIDFile: filepath.Join(t.TempDir(), "pid")}
	p := act(t, r, []string{"LISTEN_PID=PID", "LISTEN_FDS=2", "LISTEN_FDNAMES=dns:http", "NOTIFY_SOCKET=" + notify.Path}, dns.FD, http.FD)
	p.says("msg=ready", 1)
	end := pressure(t, "http://"+http.Addr)
	first := p.pid
	pid := p.upgrade(p.pid, 1)
	end()
	c, err := net.Dial("udp", dns.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := ask(c); got != "ping "+strconv.Itoa(pid) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	p.signal(pid, syscall.SIGSTOP) // so that something waits
	addr, err := net.ResolveTCPAddr("tcp", http.Addr)
	if err != nil {
		t.Fatal(err)
	}
	waiting := dial(t, addr)
	p.signal(pid, syscall.SIGTERM)
	p.signal(pid, syscall.SIGCONT)
	<-p.over
	if _, err := waiting.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Errorf("the connection that waited: %v", err)
	}
	expectNotes(t, notify, "READY=1", "RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=upgrading",
		"READY=1\nSTATUS=upgraded: process "+strconv.Itoa(pid)+" serves", "STOPPING=1")
	if pid == first {
		t.Error("it is the same process")
	}
}

// expectNotes compares all that systemd was told.
func expectNotes(t *testing.T, notify *notifytest.Socket, want ...string) {
	t.Helper()
	for _, w := range want {
		got, _ := notify.Next(t, 5*time.Second)
		if before, after, ok := strings.Cut(got, "MONOTONIC_USEC="); ok {
			number, rest, _ := strings.Cut(after, "\n")
			if n, err := strconv.ParseInt(number, 10, 64); err == nil && n > 0 {
				got = before + "MONOTONIC_USEC=N\n" + rest
			}
		}
		if got != w {
			t.Errorf("systemd was told %q instead of %q", got, w)
		}
	}
	if all := notify.All(); len(all) != len(want) {
		t.Errorf("systemd was told %q", all)
	}
}

// TestFailedUpgradeIsToldToSystemd: the reload is over, and the reason is the
// status.
func TestFailedUpgradeIsToldToSystemd(t *testing.T) {
	t.Parallel()
	notify := notifytest.ListenAbstract(t)
	r := role{Listen: []string{"http=tcp://127.0.0.1:0"}, PIDFile: filepath.Join(t.TempDir(), "pid")}
	p := act(t, r, []string{"NOTIFY_SOCKET=" + notify.Path})
	p.says("msg=ready", 1)
	r.Mood = fails
	p.next(r)
	p.signal(p.pid, syscall.SIGHUP)
	child := p.says("the upgrade failed.*child (pid=[0-9]+)", 1)[1]
	p.stop(p.pid)
	expectNotes(t, notify, "READY=1", "RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=upgrading",
		"READY=1\nSTATUS=upgrade failed: child "+child+" exited: exit status 7: the disk is on fire", "STOPPING=1")
}

// TestWatchdogOfSystemd hears from whichever process serves.
func TestWatchdogOfSystemd(t *testing.T) {
	t.Parallel()
	notify := notifytest.Listen(t)
	p := act(t, role{Listen: []string{"http=tcp://127.0.0.1:0"}, PIDFile: filepath.Join(t.TempDir(), "pid")},
		[]string{"NOTIFY_SOCKET=" + notify.Path, "WATCHDOG_USEC=100000", "WATCHDOG_PID=PID"})
	beats := func() {
		t.Helper()
		from := len(notify.All())
		eventually(t, "three beats", func() bool {
			n := 0
			for _, text := range notify.All()[from:] {
				if text == "WATCHDOG=1" {
					n++
				}
			}
			return n >= 3
		})
	}
	beats()
	pid := p.upgrade(p.pid, 1)
	beats()
	p.stop(pid)
}

// TestUnitWithoutPIDFileIsNotUpgraded: systemd would end the new process with the
// old one.
func TestUnitWithoutPIDFileIsNotUpgraded(t *testing.T) {
	t.Parallel()
	http := open(t, "y=tcp://127.0.0.1:0")
	p := act(t, role{Listen: []string{"http=tcp://127.0.0.1:1"}}, []string{"LISTEN_PID=PID", "LISTEN_FDS=1", "LISTEN_FDNAMES=web.socket"}, http.FD)
	p.says("msg=ready", 1)
	p.signal(p.pid, syscall.SIGHUP)
	p.says("the upgrade failed.*PIDFile=", 1)
	p.stop(p.pid)
}

// TestListenersOfSystemdAreTakenStrictly: the log has the line to mend.
func TestListenersOfSystemdAreTakenStrictly(t *testing.T) {
	t.Parallel()
	http, dns := open(t, "y=tcp://127.0.0.1:0"), open(t, "x=udp://127.0.0.1:0")
	for want, c := range map[string]struct {
		names string
		fds   []int
		want  []string
	}{
		`"web" is missing .systemd passed "http".: write FileDescriptorName=web`:   {"http", []int{http.FD}, []string{"web=tcp://127.0.0.1:1"}},
		`passed a listener .*"admin.* that Config.Listen does not have`:            {"http:admin", []int{http.FD, dns.FD}, []string{"http=tcp://127.0.0.1:1"}},
		`Config.Listen has tcp://127.0.0.1:1, and systemd passed a socket of udp4`: {"http", []int{dns.FD}, []string{"http=tcp://127.0.0.1:1"}},
		`LISTEN_FDNAMES has 2 names`:                                               {"http:dns", []int{http.FD}, []string{"http=tcp://127.0.0.1:1"}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			p := act(t, role{Listen: c.want}, []string{"LISTEN_PID=PID", "LISTEN_FDS=" + strconv.Itoa(len(c.fds)), "LISTEN_FDNAMES=" + c.names}, c.fds...)
			p.says(strings.ReplaceAll(want, `"`, `\\*"`), 1)
			<-p.over
		})
	}
}
