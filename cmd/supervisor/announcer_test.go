package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/systemd"
	"example.com/supervisor/systemd/notifytest"
	"example.com/supervisor/upgrade"
)

// announcing is an announcer that runs in the time of a bubble of synctest.
type announcing struct {
	*announcer
	socket *notifytest.Socket
	seen   int
	log    journal
	ended  chan struct{}
	over   chan struct{}
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func alive(context.Context) error { return nil }

// stalled is what is seen of a supervisor whose loop stands still.
func stalled(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// announce runs play with an announcer; watchdog is WATCHDOG_USEC, if it is not
// empty.
func announce(t *testing.T, watchdog string, alive func(context.Context) error, play func(*testing.T, *announcing)) {
	t.Helper()
	socket := notifytest.Listen(t)
	synctest.Test(t, func(t *testing.T) {
		n, err := systemd.NewNotifier(func(name string) string {
			if name == "WATCHDOG_USEC" {
				return watchdog
			}
			return socket.Getenv(name)
		})
		if err != nil {
			t.Fatal(err)
		}
		a := &announcing{socket: socket, ended: make(chan struct{}), over: make(chan struct{})}
		queues := func() []health.Figures { return []health.Figures{depth("http", 0, 4096)} }
		a.announcer = newAnnouncer(n, queues, 15*time.Second, false, slog.New(slog.NewTextHandler(&a.log, nil)))
		go func() { // joined by end
			defer close(a.over)
			a.run(a.ended, alive)
		}()
		play(t, a)
		a.end()
	})
}

// end ends run.
func (a *announcing) end() {
	close(a.ended)
	<-a.over
}

// told is what was sent since it was called last.
func (a *announcing) told(t *testing.T) []string {
	t.Helper()
	synctest.Wait()
	if err := barrier(a.notifier); err != nil {
		t.Fatal(err)
	}
	all := a.socket.All()
	told := all[a.seen : len(all)-1]
	a.seen = len(all)
	return told
}

func (a *announcing) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := a.told(t); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestIdleSupervisorTellsNothing(t *testing.T) {
	t.Parallel()
	announce(t, "", func(context.Context) error {
		t.Error("an idle supervisor was woken")
		return nil
	}, func(t *testing.T, a *announcing) {
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
		a.expect(t, "READY=1\nSTATUS=generation 1 active")
		time.Sleep(24 * time.Hour)
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
		a.expect(t)
	})
}

func TestLineIsToldAnewWhileTimePasses(t *testing.T) {
	t.Parallel()
	announce(t, "", alive, func(t *testing.T, a *announcing) {
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
		bake := inRoles(upgrade.PhaseBake, upgrade.RolePaused, upgrade.RoleActive)
		bake.PhaseEnds, bake.Request = new(time.Now().Add(3*time.Second)), 1
		a.told(t)
		a.changed(bake)
		time.Sleep(2500 * time.Millisecond)
		told := a.told(t)
		want := []string{
			"STATUS=generation 2 baking, 3.0 s left, queue 0/4096",
			"EXTEND_TIMEOUT_USEC=30000000",
			"STATUS=generation 2 baking, 2.0 s left, queue 0/4096",
			"STATUS=generation 2 baking, 1.0 s left, queue 0/4096",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RolePaused, upgrade.RoleActive))
		time.Sleep(time.Hour)
		a.expect(t, "STATUS=generation 2 active")
	})
}

// TestMoreTimeIsAskedForWhileTheStopGoesOn has a drain of 25 s, and 15 s in which
// generations are ended.
func TestMoreTimeIsAskedForWhileTheStopGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alive func(context.Context) error
		want  int
	}{
		"the loop decides":       {alive, 4}, // at 0, 11, 22 and 33 s
		"the loop stands still":  {stalled, 1},
		"the loop ends meantime": {func(context.Context) error { return upgrade.ErrEnded }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			announce(t, "", c.alive, func(t *testing.T, a *announcing) {
				a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
				st := inRoles(upgrade.PhaseIdle, upgrade.RoleDraining)
				st.Stopping, st.Generations[0].DrainDeadline = true, new(time.Now().Add(25*time.Second))
				a.changed(st)
				time.Sleep(2 * time.Minute)
				told := a.told(t)
				got := 0
				for _, message := range told {
					if message == "EXTEND_TIMEOUT_USEC=30000000" {
						got++
					}
				}
				if got != c.want {
					t.Errorf("asked for more time %d times, want %d: %q", got, c.want, told)
				}
			})
		})
	}
}

func TestWatchdogIsToldWhatIsTrue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alive func(context.Context) error
		want  int
		log   string
	}{
		"the loop decides":      {alive, 31, ""}, // in 30 s, each second
		"the loop stands still": {stalled, 0, "does not get on"},
		"the loop has ended":    {func(context.Context) error { return upgrade.ErrEnded }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			announce(t, "3000000", c.alive, func(t *testing.T, a *announcing) {
				time.Sleep(30*time.Second + time.Millisecond)
				told := a.told(t)
				if len(told) != c.want || slices.ContainsFunc(told, func(s string) bool { return s != "WATCHDOG=1" }) {
					t.Errorf("told %q, want %d pings", told, c.want)
				}
				if log := a.log.String(); !strings.Contains(log, c.log) || c.log == "" && log != "" {
					t.Errorf("logged %q", log)
				}
			})
		})
	}
}

func TestReasonOfTheEndIsTheLastLine(t *testing.T) {
	t.Parallel()
	announce(t, "", alive, func(t *testing.T, a *announcing) {
		st := inRoles(upgrade.PhaseIdle)
		st.Stopping = true
		a.changed(st)
		a.announcer.ended(nil)
		a.announcer.ended(errors.New("cannot run service web: no luck"))
		a.expect(t, "STOPPING=1\nSTATUS=stopped", "STATUS=cannot run service web: no luck")
	})
}

// TestNoReadyIsLostWhereNobodyReads changes a status more often than it is sent.
func TestNoReadyIsLostWhereNobodyReads(t *testing.T) {
	t.Parallel()
	socket := notifytest.Listen(t)
	n, err := systemd.NewNotifier(socket.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	a := newAnnouncer(n, func() []health.Figures { return nil }, 0, false, slog.New(slog.DiscardHandler))
	const upgrades = 100
	for range upgrades {
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
		a.hangup(true)
		for i := range 10 {
			st := inRoles(upgrade.PhaseGate, upgrade.RoleActive, upgrade.RoleCandidate)
			st.Request, st.Generations[1].Generation = 1, i+2
			a.changed(st)
		}
		a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
		a.hangup(false)
	}
	if most := maxUntold + 3*upgrades; len(a.untold) > most {
		t.Errorf("%d notices are kept, want at most %d", len(a.untold), most)
	}
	if why := a.rest(); why != "" {
		t.Errorf("another supervisor cannot take over: %s", why)
	}
	if err := barrier(n); err != nil {
		t.Fatal(err)
	}
	var order strings.Builder
	for _, message := range socket.All() {
		word, _, _ := strings.Cut(message, "=")
		fmt.Fprintf(&order, "%.2s", word)
	}
	got := strings.ReplaceAll(strings.ReplaceAll(order.String(), "ST", ""), "BA", "")
	if want := "RE" + strings.Repeat("RERE", upgrades); got != want { // READY, then RELOADING and READY for each
		t.Errorf("%s, want %s", got, want)
	}
	if last := socket.All()[len(socket.All())-2]; last != "READY=1\nSTATUS=generation 1 active" {
		t.Errorf("the last word is %q", last)
	}
}

// muteSocket is a service manager that does not read, and has no room for more.
func muteSocket(t *testing.T) (*net.UnixConn, *systemd.Notifier) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	mute, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	fill(t, path)
	n, err := systemd.NewNotifier(func(name string) string { return map[string]string{"NOTIFY_SOCKET": path}[name] })
	if err != nil {
		t.Fatal(err)
	}
	return mute, n
}

// TestServiceManagerThatDoesNotReadStopsNobody: whoever is about to take over
// hears of it soon, however much waits to be told.
func TestServiceManagerThatDoesNotReadStopsNobody(t *testing.T) {
	t.Parallel()
	_, n := muteSocket(t)
	a := newAnnouncer(n, func() []health.Figures { return nil }, 0, false, slog.New(slog.DiscardHandler))
	for i := range 20 {
		st := inRoles(upgrade.PhaseIdle, upgrade.RoleActive)
		st.Request = uint64(i % 2)
		a.changed(st)
	}
	ended := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { a.run(ended, alive) })
	for told := false; !told; { // run is at it
		a.mu.Lock()
		told = len(a.untold) < 20
		a.mu.Unlock()
		runtime.Gosched()
	}
	began := time.Now()
	if why := a.rest(); why != "the service manager does not read what it is told" {
		t.Errorf("it says %q", why)
	}
	if took := time.Since(began); took > 2*barrierTimeout {
		t.Errorf("it took %v", took)
	}
	close(ended)
	running.Wait()
}

// TestReadyIsToldAgain: the service manager waits for it, and ends a service that
// it does not hear it from.
func TestReadyIsToldAgain(t *testing.T) {
	t.Parallel()
	mute, n := muteSocket(t)
	var log journal
	a := newAnnouncer(n, func() []health.Figures { return nil }, 0, false, slog.New(slog.NewTextHandler(&log, nil)))
	a.changed(inRoles(upgrade.PhaseIdle, upgrade.RoleActive))
	ended := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { a.run(ended, alive) })
	for late := time.Now().Add(patience); !strings.Contains(log.String(), "its queue has been full"); {
		if time.Now().After(late) {
			t.Fatal("it does not notice that nobody reads")
		}
		runtime.Gosched()
	}
	if err := mute.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for text := make([]byte, 4096); !bytes.HasPrefix(text, []byte("READY=1")); {
		if _, err := mute.Read(text); err != nil {
			t.Fatalf("it is not told: %v", err)
		}
	}
	close(ended)
	running.Wait()
}

// fill sends to the socket until it takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = conn.Write([]byte("X=1"))
	}
}

func TestNobodyTakesOverBeforeTheServiceManagerKnows(t *testing.T) {
	t.Parallel()
	announce(t, "", alive, func(t *testing.T, a *announcing) {
		expect := func(want string) {
			t.Helper()
			if got := a.rest(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		a.changed(inRoles(upgrade.PhaseIdle))
		expect("no generation has become active since the start of the supervisor")
		active := inRoles(upgrade.PhaseIdle, upgrade.RoleActive)
		a.changed(active)
		expect("")
		a.hangup(true)
		expect("an upgrade was asked for by SIGHUP")
		a.hangup(false)
		expect("")
		told := a.told(t)
		if len(told) != 4 || told[len(told)-1] != "READY=1\nSTATUS=generation 1 active" {
			t.Errorf("told %q", told)
		}
	})
	silent := newAnnouncer(&systemd.Notifier{}, nil, 0, false, slog.New(slog.DiscardHandler))
	silent.changed(inRoles(upgrade.PhaseIdle))
	if why := silent.rest(); why != "" {
		t.Errorf("where nobody is told: %s", why)
	}
}
