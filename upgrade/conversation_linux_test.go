package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
	"golang.org/x/sys/unix"
)

// A dialogue is a conversation with the test in the place of the child. Whatever
// is heard of the child is in events.
type dialogue struct {
	t      *testing.T
	p      *process
	child  *fdpass.Conn
	events chan Event
	log    *syncLog
}

// A syncLog may be written to and read by several.
type syncLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func talk(t *testing.T) *dialogue { return talkWith(t, nil) }

// talkWith is talk with this process as the child, which may come back at r.
func talkWith(t *testing.T, r *Rendezvous) *dialogue {
	t.Helper()
	d := &dialogue{t: t, events: make(chan Event), log: &syncLog{}}
	l := NewLauncher(LauncherConfig{Listeners: []fdpass.Listener{{Name: "http"}}, Rendezvous: r, Logger: slog.New(slog.NewTextHandler(d.log, nil))}).(*launcher)
	d.p = l.newProcess(3, Release{}, func(e Event) { d.events <- e })
	d.p.token, d.p.snapshot.PID = secret, os.Getpid()
	conn, theirs, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if failed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	_ = theirs.Close()
	if d.child, err = fdpass.NewConn(fd); err != nil {
		t.Fatal(err)
	}
	if !d.p.converse(conn, nil) {
		t.Fatal("there is no conversation")
	}
	t.Cleanup(func() {
		if !d.p.hasEnded() {
			d.end()
		}
		_ = d.child.Close()
		done := make(chan struct{})
		go func() { // ends below
			defer close(done)
			d.p.talks.Wait()
		}()
		for open := true; open; {
			select {
			case <-d.events:
			case <-done:
				open = false
			}
		}
		_ = conn.Close()
	})
	return d
}

// end is what the end of the process brings about, as in live.
func (d *dialogue) end() {
	d.p.mu.Lock()
	close(d.p.ended)
	d.p.mu.Unlock()
	soon := time.Now().Add(drainGrace)
	_ = d.p.talk.conn.SetReadDeadline(soon)
	_ = d.p.talk.conn.SetWriteDeadline(soon)
}

func (d *dialogue) says(m fdpass.Message) {
	d.t.Helper()
	if err := d.child.Send(m); err != nil {
		d.t.Error(err)
	}
}

// hears waits for an event.
func (d *dialogue) hears() Event {
	d.t.Helper()
	select {
	case e := <-d.events:
		return e
	case <-time.After(10 * time.Second):
		d.t.Fatal("nothing is heard")
		return nil
	}
}

// wants waits for that event.
func (d *dialogue) wants(want Event) {
	d.t.Helper()
	if got := d.hears(); got != want {
		d.t.Fatalf("heard %#v, want %#v", got, want)
	}
}

// rests brings it to rest, and takes what is heard meanwhile.
func (d *dialogue) rests(most time.Duration) (channel int, goOn func(), heard []Event) {
	d.t.Helper()
	type rested struct {
		channel int
		goOn    func()
	}
	done := make(chan rested, 1)
	go func() { // ends before the test does, or fails it
		channel, goOn := d.p.Rest()
		done <- rested{channel, goOn}
	}()
	late := time.After(most)
	for {
		select {
		case r := <-done:
			return r.channel, r.goOn, heard
		case e := <-d.events:
			heard = append(heard, e)
		case <-late:
			d.t.Fatal("it does not come to rest")
		}
	}
}

// TestRestLosesNothing: a child that speaks without a pause is heard whole and in
// order, through many rests, and nothing of it in one.
func TestRestLosesNothing(t *testing.T) {
	t.Parallel()
	d := talk(t)
	const words, rests = messageLimit / 2, 20
	const part = words / (rests + 2) // two are on their way, so that there is always something to hear
	more := make(chan struct{}, rests+1)
	more <- struct{}{}
	said := make(chan struct{})
	go func() { // joined below
		defer close(said)
		for id := range uint64(words) {
			if id%part == 0 {
				<-more
			}
			d.says(fdpass.Stats{Listeners: []fdpass.ListenerStats{{Name: "http", Accepted: id}}})
			d.says(fdpass.Paused{ID: id + 1})
		}
	}()
	next := uint64(1)
	expect := func(e Event) {
		t.Helper()
		if want := (SaidPaused{3, next}); e != want {
			t.Fatalf("heard %#v, want %#v", e, want)
		}
		next++
	}
	for range rests {
		more <- struct{}{}
		expect(d.hears())
		channel, goOn, heard := d.rests(5 * time.Second)
		for _, e := range heard {
			expect(e)
		}
		if channel < 3 {
			t.Fatalf("it is handed on as descriptor %d", channel)
		}
		select {
		case e := <-d.events:
			t.Fatalf("heard %#v while it rests", e)
		case <-time.After(2 * time.Millisecond):
		}
		goOn()
	}
	close(more)
	for next <= words {
		expect(d.hears())
	}
	<-said
	d.p.Pause(7)
	d.childHears(fdpass.Pause{ID: 7})
}

// childHears waits for a message to the child.
func (d *dialogue) childHears(want fdpass.Message) {
	d.t.Helper()
	_ = d.child.SetReadDeadline(time.Now().Add(10 * time.Second))
	if m, _, err := d.child.Receive(); err != nil || m != want {
		d.t.Fatalf("the child hears %#v, %v; want %#v", m, err, want)
	}
}

// TestRestSendsWhatIsToBeSent: what was to be sent is sent before the rest, and
// what comes in it after.
func TestRestSendsWhatIsToBeSent(t *testing.T) {
	t.Parallel()
	d := talk(t)
	for id := range uint64(10) {
		d.p.Pause(id + 1)
	}
	_, goOn, _ := d.rests(5 * time.Second)
	for id := range uint64(10) {
		d.childHears(fdpass.Pause{ID: id + 1})
	}
	d.p.Resume(11)
	_ = d.child.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if m, _, err := d.child.Receive(); err == nil {
		t.Errorf("the child hears %#v in a rest", m)
	}
	goOn()
	d.childHears(fdpass.Resume{ID: 11})
}

// TestRestWithAChildThatDoesNotRead ends, and the child is lost, not the rest.
func TestRestWithAChildThatDoesNotRead(t *testing.T) {
	t.Parallel()
	d := talk(t)
	full := make(chan struct{})
	go func() { // ends when nothing more fits
		defer close(full)
		_ = d.p.talk.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for d.p.talk.conn.Send(fdpass.Failed{Reason: strings.Repeat("x", 1000)}) == nil {
		}
	}()
	<-full
	d.p.Pause(1)
	_, goOn, heard := d.rests(2 * sendGrace)
	goOn()
	if len(heard) == 0 {
		heard = append(heard, d.hears())
	}
	if want := (ChannelLost{3, "does not read its channel"}); heard[0] != want {
		t.Errorf("heard %#v, want %#v", heard[0], want)
	}
}

// TestRestOfALostChannel: a channel that is of no more use, while its process
// lives, does not hold up a rest, nor a second one.
func TestRestOfALostChannel(t *testing.T) {
	t.Parallel()
	d := talk(t)
	if err := d.child.Close(); err != nil {
		t.Fatal(err)
	}
	d.wants(ChannelLost{3, "closed its channel"})
	for range 3 {
		_, goOn, _ := d.rests(2 * time.Second)
		goOn()
	}
	if said := d.log.String(); said != "" {
		t.Errorf("a loss that is known is told again:\n%s", said)
	}
}

// TestRestOfOneThatHasEnded: the channel of a process whose end has been heard is
// closed, and that is nothing to warn of.
func TestRestOfOneThatHasEnded(t *testing.T) {
	t.Parallel()
	d := talk(t)
	d.p.hearOut()
	if channel, goOn, _ := d.rests(2 * time.Second); channel != 0 {
		t.Errorf("channel %d is handed on", channel)
	} else {
		goOn()
	}
	if said := d.log.String(); said != "" {
		t.Errorf("it says\n%s", said)
	}
}

// TestRestWhileTheProcessEnds: what it said last is heard before its end, however
// the two fall together.
func TestRestWhileTheProcessEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		before, after bool // the process ends before the rest, or else in it; its words come in it
	}{
		{"before it", true, false}, {"in it", false, false}, {"in it, after its last words", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				d := talk(t)
				if c.before {
					d.says(fdpass.Drained{ID: 9})
					d.end()
				}
				_, goOn, heard := d.rests(2 * time.Second)
				if !c.before {
					d.says(fdpass.Drained{ID: 9})
				}
				if !c.before && !c.after {
					d.end()
				}
				goOn()
				if c.after {
					d.end()
				}
				if len(heard) == 0 {
					heard = append(heard, d.hears())
				}
				if want := (SaidDrained{Generation: 3, ID: 9}); heard[0] != want {
					t.Fatalf("heard %#v, want %#v", heard[0], want)
				}
				d.isOver()
			}
		})
	}
}

// isOver fails the test if the conversation goes on although the process ended
// and another holds its channel open.
func (d *dialogue) isOver() {
	d.t.Helper()
	done := make(chan struct{})
	go func() { // ends with the conversation
		defer close(done)
		d.p.talks.Wait()
	}()
	select {
	case <-done:
	case e := <-d.events:
		d.t.Errorf("heard %#v after its last words", e)
	case <-time.After(5 * time.Second):
		d.t.Error("the conversation goes on with a process that has ended")
	}
}

// TestChildThatSaysTooMuch is lost: a rest then has nothing to wait for.
func TestChildThatSaysTooMuch(t *testing.T) {
	t.Parallel()
	d := talk(t)
	said := make(chan error, 1)
	go func() { // joined below
		for {
			if err := d.child.Send(fdpass.Stats{}); err != nil {
				said <- err
				return
			}
		}
	}()
	d.wants(ChannelLost{3, fmt.Sprintf("broke the protocol: more than %d messages in a second", messageLimit)})
	if err := <-said; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("it may go on: %v", err)
	}
	_, goOn, _ := d.rests(2 * time.Second)
	goOn()
}

// babbles says that many messages of a type that nobody knows, or as many as are
// read.
func (d *dialogue) babbles(times int) {
	d.t.Helper()
	fd, err := d.child.Duplicate()
	if err != nil {
		d.t.Fatal(err)
	}
	defer closeFD(fd)
	for range times {
		room := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(room, 500); err == nil && n == 0 {
			return
		}
		if _, err := unix.Write(fd, []byte(`{"type":"restart"}`)); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestUnknownTypeIsAnswered also long after the last command.
func TestUnknownTypeIsAnswered(t *testing.T) {
	t.Parallel()
	d := talk(t)
	d.p.Pause(1)
	d.childHears(fdpass.Pause{ID: 1})
	_ = d.p.talk.conn.SetWriteDeadline(time.Now().Add(-time.Second)) // as it is sendGrace later
	d.babbles(1)
	_ = d.child.SetReadDeadline(time.Now().Add(2 * time.Second))
	if m, _, err := d.child.Receive(); err != nil {
		t.Errorf("the child hears nothing: %v", err)
	} else if said, ok := m.(fdpass.Error); !ok || !strings.Contains(said.Reason, "restart") {
		t.Errorf("the child hears %#v", m)
	}
	d.says(fdpass.Paused{ID: 1})
	d.wants(SaidPaused{3, 1})
}

// TestRestWithAChildThatDoesNotReadAnswers: one who asks for answers and does not
// read them is lost, and holds up nobody.
func TestRestWithAChildThatDoesNotReadAnswers(t *testing.T) {
	t.Parallel()
	d := talk(t)
	d.babbles(messageLimit - 100)
	_, goOn, heard := d.rests(3 * sendGrace)
	goOn()
	if len(heard) == 0 {
		heard = append(heard, d.hears())
	}
	if want := (ChannelLost{3, "does not read its channel"}); heard[0] != want {
		t.Errorf("heard %#v, want %#v", heard[0], want)
	}
}

// TestChildThatFailsAgainAndAgain is heard a few times: each one is a line in the
// log, and says nothing new.
func TestChildThatFailsAgainAndAgain(t *testing.T) {
	t.Parallel()
	d := talk(t)
	go func() { // ends when the last is taken, before the word that is waited for
		for range messageLimit / 2 {
			d.says(fdpass.Failed{Reason: "no database"})
		}
		d.says(fdpass.Paused{ID: 1})
	}()
	failures := 0
	for {
		switch e := d.hears().(type) {
		case SaidFailed:
			failures++
			continue
		case SaidPaused:
		default:
			t.Errorf("heard %#v", e)
		}
		break
	}
	if failures == 0 || failures > complaintLimit {
		t.Errorf("%d failures are heard", failures)
	}
}

// TestLastWordsOfOneThatEndedInAnExec: a generation that is no child of ours may
// end while one supervisor takes the place of another. What it said before is
// heard, and its channel is closed.
func TestLastWordsOfOneThatEndedInAnExec(t *testing.T) {
	t.Parallel()
	w := neglected(t, "exit 0")
	_ = w.end.Close()
	for ; lives(ProcessState{PID: w.pid, StartTicks: w.ticks}); <-time.After(time.Millisecond) {
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	child, err := fdpass.NewConn(pair[1])
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	if err := child.Send(fdpass.Drained{ID: 5}); err != nil {
		t.Fatal(err)
	}
	events := make(chan Event)
	l := NewLauncher(LauncherConfig{})
	l.Adopt(ProcessState{Generation: 1, PID: w.pid, StartTicks: w.ticks, Channel: pair[0]}, func(e Event) { events <- e })
	heard := []Event{<-events}
	for _, ended := heard[0].(Exited); !ended; _, ended = heard[len(heard)-1].(Exited) {
		heard = append(heard, <-events)
	}
	l.Join()
	if len(heard) != 2 || heard[0] != (SaidDrained{Generation: 1, ID: 5}) {
		t.Errorf("heard %#v", heard)
	}
	_ = child.SetReadDeadline(time.Now().Add(time.Second))
	if _, _, err := child.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("its channel is open: %v", err)
	}
}
