package upgrade

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"golang.org/x/sys/unix"
)

const (
	secret  = "00112233445566778899aabbccddeeff"
	guessed = "00112233445566778899aabbccddeefe"
	// soon is far less than anybody may take to say who he is.
	soon = returnTimeout / 2
)

// A meeting is a rendezvous at which generations are missed.
type meeting struct {
	*Rendezvous
	t      *testing.T
	path   string
	http   fdpass.Listener
	mu     sync.Mutex
	logged bytes.Buffer
}

func (m *meeting) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logged.Write(p)
}

func (m *meeting) log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logged.String()
}

// meet opens a rendezvous for a service that listens as "http".
func meet(t *testing.T, missed ...ProcessState) *meeting {
	t.Helper()
	dir, err := os.MkdirTemp("", "meet-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &meeting{t: t, path: filepath.Join(dir, "rendezvous.sock"), http: open(t, "http")}
	m.Rendezvous, err = OpenRendezvous(RendezvousConfig{
		Path: m.path, Service: "web", Missed: missed, Cookies: map[string]fdpass.Cookie{"http": m.http.Cookie},
		Logger: slog.New(slog.NewTextHandler(m, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		began := time.Now()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > soon {
			t.Errorf("to close it took %v", took)
		}
		if strings.Contains(m.log(), secret) {
			t.Errorf("the token is in the log:\n%s", m.log())
		}
	})
	return m
}

// open opens a listener for the time of the test.
func open(t *testing.T, name string) fdpass.Listener {
	t.Helper()
	spec, err := listen.ParseSpec(name + "=tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listen.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	l, err := fdpass.Describe(name, socket.FD)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// myself is this process as a generation.
func myself(t *testing.T, generation int) ProcessState {
	t.Helper()
	_, ticks, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return ProcessState{Generation: generation, PID: os.Getpid(), StartTicks: ticks, Token: secret}
}

func rejoin(generation int) fdpass.Rejoin {
	return fdpass.Rejoin{Service: "web", Generation: generation, Token: secret, Ready: true}
}

// gather gathers for at most that long.
func (m *meeting) gather(most time.Duration) Gathered {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), most)
	defer cancel()
	g := m.Gather(ctx)
	m.t.Cleanup(func() { closeListeners(g.Listeners) })
	return g
}

// dial connects as this process does.
func (m *meeting) dial() *fdpass.Conn {
	m.t.Helper()
	c, err := fdpass.DialRendezvous(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.Close() })
	if err := errors.Join(c.SetReadDeadline(time.Now().Add(soon)), c.SetWriteDeadline(time.Now().Add(soon))); err != nil {
		m.t.Fatal(err)
	}
	return c
}

// comesBack has this process come back as that generation, with the listener. It
// tries again, as a service does, while its last attempt is being ended.
func (m *meeting) comesBack(generation int) {
	m.t.Helper()
	m.until("a welcome", func() bool {
		_, err := fdpass.GiveBack(m.dial(), rejoin(generation), []fdpass.Listener{m.http})
		return err == nil
	})
}

// until asks until ok.
func (m *meeting) until(what string, ok func() bool) {
	m.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(soon); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			m.t.Fatalf("waited in vain for %s:\n%s", what, m.log())
		}
	}
}

// wantOnly fails the test unless exactly this generation came back, with the
// listener, and its channel works.
func (m *meeting) wantOnly(g Gathered, generation int) {
	m.t.Helper()
	if want := []Survivor{{Generation: generation, Ready: true}}; !slices.Equal(g.Survivors, want) {
		m.t.Errorf("survivors %+v, want %+v", g.Survivors, want)
	}
	if len(g.Listeners) != 1 || g.Listeners[0].Cookie != m.http.Cookie {
		m.t.Errorf("listeners %+v, want that of the service", g.Listeners)
	}
	taken := make(chan arrival, 1)
	m.expect(ProcessState{Generation: generation}, func(a arrival) { taken <- a })
	a := <-taken
	m.t.Cleanup(func() { _ = a.conn.Close() })
	if !a.counted {
		m.t.Error("it is not counted")
	}
}

// A visitor is another process that comes to a rendezvous when it is told to.
type visitor struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *bufio.Reader
}

// invite starts one, as another user if uid is not -1.
func invite(t *testing.T, uid int) *visitor {
	t.Helper()
	v := &visitor{t: t, cmd: exec.Command("/proc/self/exe")}
	v.cmd.Env = append(os.Environ(), "UPGRADE_TEST_KNOCK=1")
	if uid >= 0 {
		v.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	var err error
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.said = bufio.NewReader(out)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = v.cmd.Process.Signal(syscall.SIGCONT)
		_ = v.in.Close()
		_ = v.cmd.Wait()
	})
	return v
}

// state is the visitor as a generation.
func (v *visitor) state(generation int) ProcessState {
	v.t.Helper()
	_, ticks, err := readStat(v.cmd.Process.Pid)
	if err != nil {
		v.t.Fatal(err)
	}
	return ProcessState{Generation: generation, PID: v.cmd.Process.Pid, StartTicks: ticks, Token: secret}
}

// told tells it to come and say r.
func (v *visitor) told(path string, r fdpass.Rejoin) {
	v.t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(v.in, "%s\n%s\n", path, line); err != nil {
		v.t.Fatal(err)
	}
}

// answer is how it went.
func (v *visitor) answer() string {
	v.t.Helper()
	line, err := v.said.ReadString('\n')
	if err != nil {
		v.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestRendezvousRefuses: whoever is not the generation that is missed, as far as
// the kernel and the token say, is refused, and takes nothing from the one who is.
func TestRendezvousRefuses(t *testing.T) {
	t.Parallel()
	wrong, unknown, other := rejoin(3), rejoin(4), rejoin(3)
	wrong.Token, other.Service = guessed, "db"
	for name, c := range map[string]struct {
		says fdpass.Rejoin
		want string
	}{
		"a wrong token":         {wrong, "the token is wrong"},
		"an unknown generation": {unknown, "generation 4 is not missed"},
		"another service":       {other, `this is service \"web\"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := meet(t, myself(t, 3))
			var said *fdpass.PeerError
			if _, err := fdpass.GiveBack(m.dial(), c.says, []fdpass.Listener{m.http}); !errors.As(err, &said) {
				t.Errorf("it is told %v", err)
			}
			m.until("a line in the log", func() bool { return strings.Contains(m.log(), c.want) })
			if !strings.Contains(m.log(), "refused somebody") {
				t.Errorf("the log is\n%s", m.log())
			}
			m.comesBack(3)
			m.wantOnly(m.gather(soon), 3)
		})
	}
	t.Run("another process that knows the token", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		v := invite(t, -1)
		v.told(m.path, rejoin(3))
		want := fmt.Sprintf("process %d is no generation that is missed", v.cmd.Process.Pid)
		if said := v.answer(); !strings.HasPrefix(said, "refused: ") {
			t.Errorf("it says %q", said)
		}
		if !strings.Contains(m.log(), want) {
			t.Errorf("%q is not in the log:\n%s", want, m.log())
		}
		m.comesBack(3)
		m.wantOnly(m.gather(soon), 3)
	})
	t.Run("one generation as another", func(t *testing.T) {
		t.Parallel()
		v := invite(t, -1)
		m := meet(t, myself(t, 3), v.state(4))
		v.told(m.path, rejoin(3))
		if said := v.answer(); !strings.Contains(said, "generation 3 is another process") {
			t.Errorf("it says %q", said)
		}
		m.comesBack(3)
	})
	t.Run("one that has come back", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		m.comesBack(3)
		m.until("the end of its first visit", func() bool {
			_, err := fdpass.GiveBack(m.dial(), rejoin(3), []fdpass.Listener{m.http})
			if err == nil {
				t.Fatal("it is welcome twice")
			}
			return strings.Contains(err.Error(), "has come back already")
		})
		m.wantOnly(m.gather(soon), 3)
	})
}

// TestRendezvousIsForOneUser: another user cannot connect, and if the mode of the
// socket is spoiled the kernel still says who it is.
func TestRendezvousIsForOneUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of another user")
	}
	const nobody = 65534
	m := meet(t, myself(t, 3))
	if err := os.Chmod(filepath.Dir(m.path), 0o755); err != nil {
		t.Fatal(err)
	}
	v := invite(t, nobody)
	v.told(m.path, rejoin(3))
	if said := v.answer(); !strings.HasPrefix(said, "cannot connect: ") || !strings.Contains(said, "permission denied") {
		t.Errorf("it says %q", said)
	}
	if err := os.Chmod(m.path, 0o666); err != nil {
		t.Fatal(err)
	}
	v = invite(t, nobody)
	v.told(m.path, rejoin(3))
	if said := v.answer(); !strings.HasPrefix(said, "refused: ") {
		t.Errorf("it says %q", said)
	}
	if want := "uid 65534 is not that of the service"; !strings.Contains(m.log(), want) {
		t.Errorf("%q is not in the log:\n%s", want, m.log())
	}
	m.comesBack(3)
	m.wantOnly(m.gather(soon), 3)
}

// TestRendezvousTakesOnlyTheServicesListeners: what a generation gives back is
// believed as far as the kernel says the same.
func TestRendezvousTakesOnlyTheServicesListeners(t *testing.T) {
	t.Parallel()
	t.Run("another socket", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		if _, err := fdpass.GiveBack(m.dial(), rejoin(3), []fdpass.Listener{open(t, "http")}); err != nil {
			t.Fatal(err)
		}
		g := m.gather(soon)
		if len(g.Listeners) > 0 || len(g.Survivors) != 1 {
			t.Errorf("%+v, want the generation and no listener", g)
		}
		if !strings.Contains(m.log(), "a socket that is none of the service's listeners") {
			t.Errorf("the log is\n%s", m.log())
		}
	})
	t.Run("another name", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		admin := m.http
		admin.Name = "admin"
		if _, err := fdpass.GiveBack(m.dial(), rejoin(3), []fdpass.Listener{admin, m.http}); err != nil {
			t.Fatal(err)
		}
		m.wantOnly(m.gather(soon), 3)
	})
	t.Run("a blocking one", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		if err := unix.SetNonblock(m.http.FD, false); err != nil {
			t.Fatal(err)
		}
		m.comesBack(3)
		g := m.gather(soon)
		m.wantOnly(g, 3)
		if flags, err := unix.FcntlInt(uintptr(g.Listeners[0].FD), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("it still blocks: %x, %v", flags, err)
		}
	})
	t.Run("one that was shut down", func(t *testing.T) {
		t.Parallel()
		m := meet(t, myself(t, 3))
		c, dead := m.dial(), open(t, "http")
		if err := unix.Shutdown(dead.FD, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		r := rejoin(3)
		r.Protocol, r.PID, r.Listeners = fdpass.Protocol, os.Getpid(), 1
		if err := c.Send(r); err != nil {
			t.Fatal(err)
		}
		if err := c.Send(fdpass.Listeners{Batch: 1, Of: 1, Listeners: []fdpass.Listener{dead}}, dead.FD); err != nil {
			t.Fatal(err)
		}
		m.until("a refusal", func() bool { return strings.Contains(m.log(), "refused somebody") })
		m.comesBack(3)
		m.wantOnly(m.gather(soon), 3)
	})
}

// TestRendezvousUnderGarbage: whatever is sent, or not sent, the generation that
// is missed still comes back at once.
func TestRendezvousUnderGarbage(t *testing.T) {
	t.Parallel()
	v := invite(t, -1)
	m := meet(t, myself(t, 3), v.state(4))
	for range 100 { // who say nothing
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: m.path})
		if errors.Is(err, syscall.EAGAIN) { // they come faster than they are looked at
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	m.until("a refusal of the second", func() bool { return strings.Contains(m.log(), "is coming back already") })
	m.until("a free place", func() bool {
		c, err := fdpass.DialRendezvous(m.path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	v.told(m.path, rejoin(4))
	if said := v.answer(); said != "welcome" {
		t.Errorf("it says %q", said)
	}
}

// TestRendezvousIgnoresHalfAWord sends what is no rejoin, each on a connection of
// its own.
func TestRendezvousIgnoresHalfAWord(t *testing.T) {
	t.Parallel()
	m := meet(t, myself(t, 3))
	for _, text := range []string{
		"", "\x00\xff\xfe", "{", `{"type":"rejoin"`, `{"type":"rejoin","protocol":99}`, `{"type":"ready"}`,
		`{"type":"listeners","batch":1,"of":1,"listeners":[]}`, strings.Repeat("[", 10000),
	} {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: m.path})
		if err != nil {
			t.Fatal(err)
		}
		rights := unix.UnixRights(m.http.FD)
		_, _, err = conn.WriteMsgUnix([]byte(text), rights, nil)
		_ = conn.SetReadDeadline(time.Now().Add(soon))
		for answer := make([]byte, 1<<16); err == nil; {
			if _, err = conn.Read(answer); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%.30q is not refused", text)
			}
		}
		_ = conn.Close()
	}
	m.comesBack(3)
	m.wantOnly(m.gather(soon), 3)
}

// TestRefusalsAreLoggedAtARate: one refusal is told once in a while, many are told
// at a rate, and none so many that a later one is never told.
func TestRefusalsAreLoggedAtARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		r := &Rendezvous{log: slog.New(slog.NewTextHandler(&logged, nil)), refused: map[string]time.Time{}}
		wrong := errors.New("the token is wrong")
		lines := func() int {
			defer logged.Reset()
			return strings.Count(logged.String(), "refused somebody")
		}
		for minute := range 3 {
			for pid := range 1000 {
				r.refuse(fdpass.Peer{PID: 1000*minute + pid}, 3, wrong)
			}
			if n := lines(); n != refusalLimit {
				t.Errorf("%d lines in minute %d, want %d", n, minute, refusalLimit)
			}
			time.Sleep(time.Minute + time.Second) // of the bubble
		}
		for range 1800 {
			r.refuse(fdpass.Peer{PID: 1 << 20}, 3, wrong)
			time.Sleep(time.Second)
		}
		if n := lines(); n != 1 {
			t.Errorf("the same one is told %d times in half an hour", n)
		}
		time.Sleep(refusalMemory)
		r.refuse(fdpass.Peer{PID: 1 << 20}, 3, wrong)
		if n := lines(); n != 1 || len(r.refused) != 1 {
			t.Errorf("after an hour %d lines, %d remembered", n, len(r.refused))
		}
	})
}

// TestListenersOfOneThatIsGoneAreKept: one that ended once its listeners were
// received, before it was welcomed, may have been the last to hold them.
func TestListenersOfOneThatIsGoneAreKept(t *testing.T) {
	t.Parallel()
	m := meet(t, myself(t, 3))
	left := m.http
	m.Rendezvous.mu.Lock()
	for i := range 200 { // so that there is some time in between
		left.Name = fmt.Sprint("http", i)
		m.cfg.Cookies[left.Name] = left.Cookie
	}
	m.Rendezvous.mu.Unlock()
	var all []fdpass.Listener
	for name := range m.cfg.Cookies {
		left.Name = name
		all = append(all, left)
	}
	for range 100 {
		c := m.dial()
		r := rejoin(3)
		r.Protocol, r.PID, r.Listeners = fdpass.Protocol, os.Getpid(), len(all)
		fds := make([]int, len(all))
		for i := range fds {
			fds[i] = left.FD
		}
		if err := errors.Join(c.Send(r), c.Send(fdpass.Listeners{Batch: 1, Of: 1, Listeners: all}, fds...)); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.Receive()
		_ = c.Close()
		if err != nil {
			t.Fatal(err)
		}
		m.until("the end of the visit", func() bool {
			m.Rendezvous.mu.Lock()
			defer m.Rendezvous.mu.Unlock()
			return len(m.visiting) == 0
		})
		if strings.Contains(m.log(), "cannot welcome generation 3") {
			if g := m.gather(0); len(g.Listeners) != len(all) {
				t.Errorf("%d listeners of %d are kept", len(g.Listeners), len(all))
			}
			return
		}
		if strings.Contains(m.log(), "came back") {
			m.Rendezvous.mu.Lock()
			_ = m.expected[3].came.conn.Close()
			m.expected[3].came = nil
			closeListeners(slices.Collect(maps.Values(m.kept)))
			clear(m.kept)
			m.Rendezvous.mu.Unlock()
			m.mu.Lock()
			m.logged.Reset()
			m.mu.Unlock()
		}
	}
	t.Skip("it was welcomed each time before it had left")
}

// TestGatherLeavesTheMute: a generation that is stopped is not waited for longer
// than the caller says, and taken when it comes; its listeners are not kept then.
func TestGatherLeavesTheMute(t *testing.T) {
	t.Parallel()
	v := invite(t, -1)
	if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	m := meet(t, myself(t, 3), v.state(4))
	v.told(m.path, rejoin(4))
	m.comesBack(3)
	g := m.gather(200 * time.Millisecond)
	if want := []Survivor{{Generation: 3, Ready: true}, {Generation: 4, Mute: true}}; !slices.Equal(g.Survivors, want) {
		t.Errorf("survivors %+v, want %+v", g.Survivors, want)
	}
	taken := make(chan arrival, 1)
	m.expect(v.state(4), func(a arrival) { taken <- a })
	if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if said := v.answer(); said != "welcome" {
		t.Errorf("it says %q", said)
	}
	a := <-taken
	defer a.conn.Close()
	if a.counted || !a.survivor().Ready {
		t.Errorf("%+v was counted before it came", a)
	}
}

// TestGatherDoesNotWaitLongForOneThatNeverWasReady: one that hangs before its
// hello does not hold up those that serve, and one that was ready is waited for.
func TestGatherDoesNotWaitLongForOneThatNeverWasReady(t *testing.T) {
	t.Parallel()
	hangs, serves := invite(t, -1), invite(t, -1)
	late := serves.state(3)
	late.Ready = time.Now()
	m := meet(t, late, hangs.state(4))
	gathered := make(chan Gathered, 1)
	began := time.Now()
	go func() { gathered <- m.Gather(t.Context()) }() // ends below, or with the test
	select {
	case g := <-gathered:
		t.Errorf("one that was ready is given up after %v: %+v", time.Since(began), g)
	case <-time.After(earlyTimeout + 200*time.Millisecond):
	}
	serves.told(m.path, rejoin(3))
	select {
	case g := <-gathered:
		if want := []Survivor{{Generation: 3, Ready: true}, {Generation: 4, Mute: true}}; !slices.Equal(g.Survivors, want) {
			t.Errorf("survivors %+v, want %+v", g.Survivors, want)
		}
	case <-time.After(soon):
		t.Error("one that never was ready is waited for")
	}
}

// TestGatherForgetsTheDead: one that ends is not waited for.
func TestGatherForgetsTheDead(t *testing.T) {
	t.Parallel()
	v, gone := invite(t, -1), invite(t, -1)
	dead := gone.state(5)
	if err := errors.Join(gone.cmd.Process.Kill(), gone.in.Close()); err != nil {
		t.Fatal(err)
	}
	_ = gone.cmd.Wait()
	another := v.state(6)
	another.StartTicks--
	m := meet(t, myself(t, 3), v.state(4), dead, another)
	m.comesBack(3)
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = v.cmd.Wait()
	m.wantOnly(m.gather(soon), 3)
}

// TestClosedRendezvousInterrupts: its end waits for nobody, and gives up what was
// given back and not asked for.
func TestClosedRendezvousInterrupts(t *testing.T) {
	t.Parallel()
	v := invite(t, -1)
	m := meet(t, myself(t, 3), v.state(4))
	m.comesBack(3)
	silent := m.dial()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for err := error(nil); err == nil; { // he may be told that he comes twice
		if _, _, err = silent.Receive(); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("one who says nothing can stay")
		}
	}
	v.told(m.path, rejoin(4))
	if said := v.answer(); !strings.HasPrefix(said, "cannot connect: ") {
		t.Errorf("it says %q", said)
	}
	if err := m.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if _, err := os.Lstat(m.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestWhoComesBackTwice: a generation that was frozen until its patience was over
// comes again; as long as nobody has taken its first channel, the second counts.
func TestWhoComesBackTwice(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"before it is gathered", "after it is gathered"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			m := meet(t, myself(t, 3))
			c := m.dial()
			if _, err := fdpass.GiveBack(c, rejoin(3), []fdpass.Listener{m.http}); err != nil {
				t.Fatal(err)
			}
			var g Gathered
			if first == "after it is gathered" {
				g = m.gather(soon)
			}
			_ = c.Close()
			again := m.dial()
			m.until("a second welcome", func() bool {
				_, err := fdpass.GiveBack(again, rejoin(3), []fdpass.Listener{m.http})
				if err != nil {
					again = m.dial()
				}
				return err == nil
			})
			m.until("the end of its visit", func() bool { // it is welcomed before it is noted
				m.Rendezvous.mu.Lock()
				defer m.Rendezvous.mu.Unlock()
				return len(m.visiting) == 0
			})
			if first != "after it is gathered" {
				g = m.gather(soon)
			}
			if want := []Survivor{{Generation: 3, Ready: true}}; !slices.Equal(g.Survivors, want) || len(g.Listeners) != 1 {
				t.Errorf("gathered %+v, want %+v with a listener", g, want)
			}
			taken := make(chan arrival, 1)
			m.expect(ProcessState{Generation: 3}, func(a arrival) { taken <- a })
			a := <-taken
			defer a.conn.Close()
			if !a.counted {
				t.Error("it is not counted")
			}
			if err := a.conn.Send(fdpass.Resume{ID: 7}); err != nil {
				t.Fatal(err)
			}
			if said, _, err := again.Receive(); err != nil || said != (fdpass.Resume{ID: 7}) {
				t.Errorf("it hears %v, %v", said, err)
			}
		})
	}
}

// TestLostChannelComesBack: a generation that lost its channel while its supervisor
// lives is let in again, each time, and hears nothing that was said before.
func TestLostChannelComesBack(t *testing.T) {
	t.Parallel()
	m := meet(t)
	d := talkWith(t, m.Rendezvous)
	if _, err := fdpass.GiveBack(m.dial(), rejoin(3), nil); err == nil {
		t.Fatal("one whose channel is there is let in")
	}
	channel := d.child
	for range 2 {
		_ = channel.Close()
		for range 3 { // the first is lost with the channel
			d.p.Pause(1)
		}
		d.wants(ChannelLost{3, "closed its channel"})
		m.until("a welcome", func() bool {
			channel = m.dial()
			w, err := fdpass.GiveBack(channel, rejoin(3), []fdpass.Listener{open(t, "http")})
			if err == nil && (w.StatsMS == 0 || w.Rendezvous != m.path || w.Token != secret) {
				t.Errorf("it is told %+v", w)
			}
			return err == nil
		})
		d.wants(Rejoined{Survivor{Generation: 3, Ready: true}})
		d.p.Resume(2)
		if said, _, err := channel.Receive(); err != nil || said != (fdpass.Resume{ID: 2}) {
			t.Errorf("it hears %#v, %v", said, err)
		}
		if err := channel.Send(fdpass.Resumed{ID: 2}); err != nil {
			t.Fatal(err)
		}
		d.wants(SaidResumed{3, 2})
	}
	if strings.Contains(m.log(), "none of the service's listeners") {
		t.Errorf("what nobody asked for is complained of:\n%s", m.log())
	}
	done := make(chan struct{})
	go func() { // ends with the events
		defer close(done)
		d.p.hearOut()
		d.p.exited(Exited{Clean: true, Reason: "ended"})
	}()
	d.wants(Exited{Generation: 3, Clean: true, Reason: "ended"})
	<-done
	if missing, _ := m.missing(); len(missing) > 0 || len(m.expected) > 0 {
		t.Errorf("one that has ended is expected: %+v", m.expected)
	}
}

// TestStrangersAreDismissedOnceOthersServe: only those of whom nothing is known,
// and not before.
func TestStrangersAreDismissedOnceOthersServe(t *testing.T) {
	t.Parallel()
	m := meet(t, myself(t, 3))
	comes := func(generation int) *fdpass.PeerError {
		t.Helper()
		var said *fdpass.PeerError
		if _, err := fdpass.GiveBack(m.dial(), rejoin(generation), []fdpass.Listener{m.http}); !errors.As(err, &said) {
			t.Fatalf("generation %d is told %v", generation, err)
		}
		m.until("the end of its visit", func() bool {
			m.Rendezvous.mu.Lock()
			defer m.Rendezvous.mu.Unlock()
			return len(m.visiting) == 0
		})
		return said
	}
	m.claim(8, secret)
	m.claim(9, guessed)
	if said := comes(4); said.Dismissed {
		t.Errorf("dismissed before others serve: %v", said)
	}
	m.Settle()
	m.Settle()
	for generation, dismissed := range map[int]bool{4: true, 8: false, 9: true} {
		if said := comes(generation); said.Dismissed != dismissed {
			t.Errorf("generation %d is told %+v", generation, said)
		}
	}
	m.disclaim(8)
	if said := comes(8); !said.Dismissed {
		t.Errorf("it is told %+v, though it has ended", said)
	}
	m.comesBack(3)
	m.wantOnly(m.gather(soon), 3)
	m.forget(3)
	v := invite(t, -1) // no process that is missed
	v.told(m.path, rejoin(4))
	if said := v.answer(); !strings.Contains(said, "it is to drain and to end") {
		t.Errorf("it says %q", said)
	}
}
