package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// TestReexecLosesNoConnection has the supervisor replaced again and again under
// load, idle and after an upgrade. It stays what it was, its counters go on, and
// it supervises on.
func TestReexecLosesNoConnection(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	first := l.serves()
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 50)
	l.replaced(3)
	l.answered(run, 20)
	if now := l.serves(); now.Generations[0].PID != first.Generations[0].PID || !now.Started.Equal(first.Started) {
		t.Errorf("now %+v, before %+v", now, first)
	}
	upgraded := l.upgradesOn(program)
	l.replaced(3)
	l.answered(run, 20)
	if now := l.serves(); !reflect.DeepEqual(now.Reports, upgraded.Reports) || len(now.Reports) != 1 {
		t.Errorf("the history is %+v, and was %+v", now.Reports, upgraded.Reports)
	}
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestReexecInADrain: the drain goes on where it was, to the same moment, and its
// end is noticed.
func TestReexecInADrain(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	address := l.serves().Listeners[0].Address
	run := l.traffic("http://" + address)
	l.answered(run, 20)
	slow := hold(t, address)
	l.upgrade([]string{program}, false).verdict(upgrade.Committed, "")
	before := l.await("a drain", inADrain)
	began := time.Now()
	l.replaced(3)
	now := l.await("the same drain", inADrain)
	was, is := before.Generations[0], now.Generations[0]
	if is.PID != was.PID || !sameMoment(*is.DrainDeadline, *was.DrainDeadline, time.Since(began)) {
		t.Errorf("generation 1 is %+v, and was %+v", is, was)
	}
	if answer := slow(); answer != "slow" {
		t.Errorf("the client of generation 1 got %q", answer)
	}
	l.serves()
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// sameMoment reports whether it is, by what is told of it before and after
// replacements that took so long: one that began anew would be later by that. It is
// handed over by another clock, and what lies between two looks at clocks is lost.
func sameMoment(before, after time.Time, took time.Duration) bool {
	return after.Sub(before).Abs() < took/4
}

func inADrain(s upgrade.Status) bool {
	return s.Phase == upgrade.PhaseIdle && len(s.Generations) == 2 && s.Generations[0].Role == upgrade.RoleDraining
}

// TestReexecInABackOff: the back-off neither begins anew nor is forgotten, and
// those who connect meanwhile are served after it.
func TestReexecInABackOff(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms", "--backoff-min", "5s", "--stable-after", "1h")
	backsOff := func(s upgrade.Status) bool { return s.Restart != nil && !s.Restart.Next.IsZero() }
	crashes, in := 0, false
	var run *load.Run
	for !in && crashes < 4 { // a slow machine needs a longer back-off: the next one is twice as long
		crashes++
		first := l.serves()
		if run != nil {
			l.noneFailed(run)
		}
		signalTo(t, first.Generations[0].PID, syscall.SIGKILL)
		before := l.await("a back-off", backsOff)
		began := time.Now()
		run = l.traffic("http://" + first.Listeners[0].Address)
		l.replace("")
		l.replace("")
		now := l.await("an answer", func(upgrade.Status) bool { return true })
		if in = backsOff(now); in && (!sameMoment(before.Restart.Next, now.Restart.Next, time.Since(began)) || now.Restart.Reason != before.Restart.Reason) {
			t.Errorf("the back-off is %+v, and was %+v", now.Restart, before.Restart)
		}
	}
	if status := l.serves(); !in || status.Generations[0].Generation != crashes+1 || status.Restarts != uint64(crashes) {
		t.Errorf("%+v, want another generation after each of %d back-offs", status, crashes)
	}
	l.answered(run, 20)
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestReexecCarriesWhoWaits: the stream of an upgrade that waits for a drain goes
// on without a byte lost or doubled: it is the same as that of one during which
// nothing was replaced.
func TestReexecCarriesWhoWaits(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	address := l.serves().Listeners[0].Address
	run := l.traffic("http://" + address)
	l.answered(run, 20)
	streams := make([][]string, 2)
	for i := range streams {
		slow := hold(t, address)
		stream := l.record(program)
		before := l.await("a drain", inADrain)
		if i == 1 {
			l.replaced(3)
		}
		if now := l.await("the same drain", inADrain); now.Generations[0].PID != before.Generations[0].PID {
			t.Errorf("%+v, and before %+v", now.Generations, before.Generations)
		}
		if answer := slow(); answer != "slow" {
			t.Errorf("the client of the old generation got %q", answer)
		}
		streams[i] = stream()
		l.serves()
	}
	if !slices.Equal(streams[0], streams[1]) {
		t.Errorf("with replacements:\n%s\nwithout:\n%s", strings.Join(streams[1], "\n"), strings.Join(streams[0], "\n"))
	}
	if last := streams[1][len(streams[1])-1]; !strings.HasPrefix(last, "committed") {
		t.Errorf("the last line is %q", last)
	}
	l.noneFailed(run)
	l.stop()
}

// record upgrades on a connection that it does not let go, and reads every byte.
// Its result is each line in short, without numbers and times.
func (l *lineage) record(program string) (lines func() []string) {
	l.Helper()
	conn, err := net.Dial("unix", l.socket())
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = conn.Close() })
	body, err := json.Marshal(upgrade.Request{Program: &upgrade.Program{Command: []string{program}}, WaitDrain: true})
	if err != nil {
		l.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		l.Fatal(err)
	}
	return func() (short []string) {
		l.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		all, err := io.ReadAll(conn)
		if err != nil {
			l.Fatalf("%v after %q", err, all)
		}
		whole := bufio.NewReader(bytes.NewReader(all))
		response, err := http.ReadResponse(whole, nil)
		if err != nil {
			l.Fatalf("%v in %q", err, all)
		}
		text, err := io.ReadAll(response.Body) // which ends with the last chunk
		if rest, _ := io.ReadAll(whole); err != nil || len(rest) > 0 {
			l.Fatalf("%v, and then %q, in %q", err, rest, all)
		}
		for text := range strings.Lines(string(text)) {
			short = append(short, inShort(l, text))
		}
		return short
	}
}

func inShort(tb testing.TB, text string) string {
	tb.Helper()
	var line control.Line
	switch err := json.Unmarshal([]byte(text), &line); {
	case err != nil:
		tb.Fatalf("%v in %q", err, text)
	case line.Step != nil:
		return "step " + string(line.Step.Phase)
	case line.Report != nil:
		var phases []string
		for _, p := range line.Report.Phases {
			phases = append(phases, string(p.Phase))
		}
		return fmt.Sprint(line.Report.Verdict, " ", phases)
	}
	return text
}

// TestReexecLeavesTheProcessAsItIs also for what it starts later: with listeners
// of three kinds, they are the same sockets, and a generation begins with the
// environment, limits and signals of the first.
func TestReexecLeavesTheProcessAsItIs(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"trio"}, "--bake", "100ms", "--settle", "20ms",
		"--listen", "http=tcp://127.0.0.1:0", "--listen", "local=unix://$DIR/local.sock", "--listen", "udp=udp://127.0.0.1:0")
	status := l.serves()
	if s := l.standing(status); len(s.sockets) != 3 {
		t.Fatalf("it holds %v", s.sockets)
	}
	first := bareStanding(t, status.Generations[0].PID)
	run := l.traffic("http://"+status.Listeners[0].Address, "unix://"+l.dir+"/local.sock")
	datagrams := sendDatagrams(t, status.Listeners[2].Address)
	l.replaced(3)
	later := bareStanding(t, l.upgradesOn("trio").Generations[0].PID)
	if !reflect.DeepEqual(first, later) {
		t.Errorf("a generation does not begin as the first: %s", first.changes(later))
	}
	l.replaced(1)
	if lost, all := datagrams(); lost > 0 || all == 0 {
		t.Errorf("%d of %d datagrams were not answered", lost, all)
	}
	l.noneFailed(run)
	l.stop()
}

// bareStanding is what a generation begins with.
func bareStanding(tb testing.TB, pid int) standing {
	tb.Helper()
	s := standingOf(tb, pid)
	s.born, s.descriptors, s.guests = "", nil, 0
	return s
}
