package upgrade

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// A blind launcher cannot look for processes for a while.
func blind(tries int64, why error) (*launcher, *syncLog) {
	log := &syncLog{}
	l := NewLauncher(LauncherConfig{Logger: slog.New(slog.NewTextHandler(log, nil))}).(*launcher)
	var tried atomic.Int64
	l.find = func(pid int, ticks uint64) (child, error) {
		if tried.Add(1) <= tries {
			return child{}, why
		}
		return findChild(pid, ticks)
	}
	return l, log
}

// TestOneThatCannotBeLookedForIsNotDead: no descriptor is left, for instance. The
// generation is found later, and hears then what it was to be told.
func TestOneThatCannotBeLookedForIsNotDead(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]func(Process){
		"and ends later": nil, "and is terminated": Process.Terminate, "and is killed": Process.Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := attended(t, "exit 0")
			l, log := blind(4, syscall.EMFILE)
			events := make(chan Event, 1)
			p := l.Adopt(ProcessState{Generation: 1, PID: w.pid, StartTicks: w.ticks, Token: secret}, func(e Event) { events <- e })
			if s := p.State(); s.PID != w.pid || s.StartTicks != w.ticks {
				t.Errorf("what is written down meanwhile is %+v", s)
			}
			if told != nil {
				told(p)
			} else {
				select {
				case e := <-events:
					t.Errorf("heard %#v", e)
				case <-time.After(20 * searchPause): // far more than the four tries
				}
				_ = w.end.Close()
			}
			e := (<-events).(Exited)
			l.Join()
			if e.Reason == "ended while it had no supervisor" {
				t.Errorf("it %s", e.Reason)
			}
			if lives(ProcessState{PID: w.pid, StartTicks: w.ticks}) {
				t.Error("it lives")
			}
			if said := log.String(); strings.Count(said, "cannot take hold of a generation") != 1 || strings.Count(said, "has taken hold of") != 1 {
				t.Errorf("it says\n%s", said)
			}
		})
	}
}

// TestOneThatCannotBeLookedForMayBeGone in the meantime.
func TestOneThatCannotBeLookedForMayBeGone(t *testing.T) {
	t.Parallel()
	w := attended(t, "exit 0")
	l, _ := blind(2, syscall.EPERM)
	events := make(chan Event, 1)
	l.Adopt(ProcessState{Generation: 1, PID: w.pid, StartTicks: w.ticks + 1}, func(e Event) { events <- e })
	if e := <-events; e != (Exited{Generation: 1, Reason: "ended while it had no supervisor"}) {
		t.Errorf("heard %#v", e)
	}
	l.Join()
}

// TestOneWhoseStartNobodyKnows is adopted once it has proved itself.
func TestOneWhoseStartNobodyKnows(t *testing.T) {
	t.Parallel()
	v, w := invite(t, -1), attended(t, "exit 0")
	comes, stays := v.state(4), ProcessState{Generation: 5, PID: w.pid, Token: secret}
	want := comes.StartTicks
	comes.StartTicks = 0
	m := meet(t, myself(t, 3), comes, stays)
	v.told(m.path, rejoin(4))
	if said := v.answer(); said != "welcome" {
		t.Fatalf("it says %q", said)
	}
	m.comesBack(3)
	g := m.gather(200 * time.Millisecond)
	if want := []Survivor{{Generation: 3, Ready: true}, {Generation: 4, Ready: true}}; !slices.Equal(g.Survivors, want) {
		t.Errorf("survivors %+v, want %+v", g.Survivors, want)
	}
	if !slices.Equal(g.Unproven, []int{5}) || !strings.Contains(m.log(), "leaves a process alone") {
		t.Errorf("unproven %v, and the log is\n%s", g.Unproven, m.log())
	}
	l := NewLauncher(LauncherConfig{Rendezvous: m.Rendezvous})
	events := make(chan Event, 2)
	p := l.Adopt(comes, func(e Event) { events <- e })
	if s := p.State(); s.StartTicks != want {
		t.Errorf("its start is %d, want %d", s.StartTicks, want)
	}
	p.Terminate()
	for e := range events {
		if _, ended := e.(Exited); ended {
			break
		}
	}
	l.Join()
	if stays.StartTicks = w.ticks; !lives(stays) {
		t.Error("the other is not left alone")
	}
}

// TestOneThatNeverProvesItselfIsLeftAlone also when it is to be killed: it may be
// another process.
func TestOneThatNeverProvesItselfIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := attended(t, "exit 0")
	l, log := blind(0, nil)
	events := make(chan Event, 1)
	p := l.Adopt(ProcessState{Generation: 1, PID: w.pid}, func(e Event) { events <- e })
	p.Terminate()
	select {
	case e := <-events:
		t.Errorf("heard %#v", e)
	case <-time.After(5 * searchPause):
	}
	p.Kill()
	if e := <-events; e != (Exited{Generation: 1, Reason: "ended while it had no supervisor"}) {
		t.Errorf("heard %#v", e)
	}
	l.Join()
	if !lives(ProcessState{PID: w.pid, StartTicks: w.ticks}) || !strings.Contains(log.String(), "leaves a process alone") {
		t.Errorf("it is not left alone, or not said to be:\n%s", log)
	}
}

// TestChannelOfOneThatCannotBeLookedFor goes on all the while.
func TestChannelOfOneThatCannotBeLookedFor(t *testing.T) {
	t.Parallel()
	w := attended(t, "exit 0")
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	channel, err := ours.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	l, _ := blind(3, errors.New("no /proc"))
	events := make(chan Event, 2)
	p := l.Adopt(ProcessState{Generation: 1, PID: w.pid, StartTicks: w.ticks, Channel: channel}, func(e Event) { events <- e })
	raw, err := theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	p.Pause(7)
	packet := make([]byte, 1024)
	n := 0
	if failed := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), packet)
		return !errors.Is(err, syscall.EAGAIN)
	}); failed != nil || err != nil || !strings.Contains(string(packet[:n]), `"pause"`) {
		t.Errorf("it hears %q, %v, %v", packet[:n], failed, err)
	}
	_ = w.end.Close()
	for e := range events {
		if _, ended := e.(Exited); ended {
			break
		}
	}
	l.Join()
}
