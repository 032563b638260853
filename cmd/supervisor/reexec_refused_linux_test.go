package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// TestReexecIsRefusedDuringAnUpgrade in each of its phases, under load, and the
// upgrade comes to the verdict to which it would have come.
func TestReexecIsRefusedDuringAnUpgrade(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	for _, c := range []struct {
		phase   upgrade.Phase
		flags   []string // of supervisor run
		first   []string // of the first generation
		upgrade []string // of the candidate
		verdict upgrade.Verdict
	}{
		{upgrade.PhaseStart, nil, nil, []string{"-start-delay", "2s"}, upgrade.Committed},
		{upgrade.PhaseReady, []string{"--probe", "/", "--ready-timeout", "3s"}, nil, []string{"-unhealthy"}, upgrade.Aborted},
		{upgrade.PhaseOverlap, []string{"--overlap", "2s"}, nil, nil, upgrade.Committed},
		{upgrade.PhaseGate, []string{"--settle", "2s"}, nil, nil, upgrade.Committed},
		{upgrade.PhaseCutOver, []string{"--pause-timeout", "2s"}, []string{"-ignore-pause"}, nil, upgrade.Aborted},
		{upgrade.PhaseBake, []string{"--bake", "2s"}, nil, nil, upgrade.Committed},
		{upgrade.PhaseRollback, []string{"--bake", "5s", "--pause-timeout", "2s", "--probe", "/", "--probe-failures", "1"},
			[]string{"-ignore-resume"}, []string{"-unhealthy-after", "600ms"}, upgrade.RolledBack},
	} {
		t.Run(string(c.phase), func(t *testing.T) {
			t.Parallel()
			flags := append([]string{"--bake", "100ms", "--settle", "50ms"}, c.flags...)
			l := found(t, append([]string{program}, c.first...), flags...)
			run := l.traffic("http://" + l.serves().Listeners[0].Address)
			l.answered(run, 10)
			asked := l.upgrade(append([]string{program}, c.upgrade...), true)
			before := l.await(string(c.phase), inPhase(c.phase))
			l.refuses("", "upgrade 1 is running ("+string(c.phase)+")")
			now := l.await("an answer", func(upgrade.Status) bool { return true })
			if now.Phase != before.Phase || len(now.Generations) != len(before.Generations) {
				t.Errorf("now %+v, before %+v", now, before)
			}
			asked.verdict(c.verdict, "")
			l.serves()
			l.replaced(1)
			l.noneFailed(run)
			l.stop()
		})
	}
}

// TestReexecIsRefusedWhileAGenerationStartsOrStops: outside of an upgrade.
func TestReexecIsRefusedWhileAGenerationStartsOrStops(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program, "-start-delay", "2s"}, "--bake", "100ms", "--backoff-min", "10ms")
	l.await("the first start", func(s upgrade.Status) bool { return len(s.Generations) == 1 && s.Generations[0].PID != 0 })
	l.refuses("", "the first generation is not ready yet")
	address := l.serves().Listeners[0].Address
	signalTo(t, l.serves().Generations[0].PID, syscall.SIGKILL)
	l.await("a restart", func(s upgrade.Status) bool {
		return s.Restart != nil && len(s.Generations) == 1 && s.Generations[0].Generation == 2 && s.Generations[0].PID != 0
	})
	l.refuses("", "generation 2 is being started in place of one that ended")
	l.serves()
	slow := hold(t, address)
	ended := l.stopped()
	l.await("a stop", func(s upgrade.Status) bool { return s.Stopping })
	l.refuses("", "") // by the machine, or because the caller of stop cannot be carried
	if answer := slow(); answer != "slow" {
		t.Errorf("the client of the service got %q", answer)
	}
	ended()
}

// TestBinaryThatIsRefused: nothing has happened, and clients notice nothing.
func TestBinaryThatIsRefused(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	status := l.serves()
	run := l.traffic("http://" + status.Listeners[0].Address)
	l.answered(run, 20)
	before := l.settled()
	busy, err := os.OpenFile(script(t, ""), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct{ name, binary, reason string }{
		{"missing", filepath.Join(t.TempDir(), "missing"), "/missing: no such file or directory"},
		{"a directory", t.TempDir(), "is a directory"},
		{"no permission", written(t, "", 0o600), "permission denied"},
		{"empty", written(t, "", 0o700), "it is no program for this machine"},
		{"another machine's", written(t, "\x7fELF\x02\x01\x01", 0o700), "it is no program for this machine"},
		{"without its interpreter", written(t, "#!/missing/sh\n", 0o700), "no such file or directory"},
		{"being written", busy.Name(), "somebody is writing to it"},
		{"says nothing", "/bin/true", "does not say that it can go on from here; is it a supervisor?"},
		{"fails", "/bin/false", "cannot go on from here: exit status 1"},
		{"garbage", script(t, "echo garbage"), "is it a supervisor?"},
		{"garbage without end", script(t, "while :; do echo garbage; done"), "is it a supervisor?"},
		{"complaints without end", script(t, "while :; do echo garbage; done | head -c 10000000 >&2; echo error: no >&2; exit 1"), "cannot go on from here: no"},
		{"another's JSON", script(t, `echo '{"version":"v2"}'`), "is it a supervisor?"},
		{"crashes", script(t, "kill -SEGV $$"), "cannot go on from here: signal: segmentation fault"},
		{"panics", script(t, "echo 'panic: boom' >&2; echo 'goroutine 1:' >&2; exit 2"), "cannot go on from here: panic: boom"},
		{"reads other states", script(t, "echo 'error: cannot go on from the state: the state is of version 1, and this binary reads versions 2 to 4' >&2; exit 1"),
			"the state is of version 1, and this binary reads versions 2 to 4"},
		{"goes away before it is executed", script(t, `rm -f "$0"; echo '{"state":1}'`), "no such file or directory"},
	} {
		l.refuses(c.binary, c.reason)
		l.standsAs(before)
		if t.Failed() {
			t.Fatalf("with a binary that is: %s", c.name)
		}
	}
	l.wantProcesses(status)
	l.answered(run, 20)
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// written makes a file.
func written(tb testing.TB, text string, mode os.FileMode) (path string) {
	tb.Helper()
	path = script(tb, "")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		tb.Fatal(err)
	}
	return path
}

// TestReexecThatFailsAtTheLastMoment: everything is at rest and the client that
// waits is carried already when the binary turns out to be gone. All goes on.
func TestReexecThatFailsAtTheLastMoment(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	address := l.serves().Listeners[0].Address
	run := l.traffic("http://" + address)
	slow := hold(t, address)
	stream := l.record(program)
	l.await("a drain", inADrain)
	before := l.settled()
	for range 3 {
		l.refuses(script(t, `rm -f "$0"; echo '{"state":1}'`), "no such file or directory")
		l.standsAs(before)
	}
	if answer := slow(); answer != "slow" {
		t.Errorf("the client of generation 1 got %q", answer)
	}
	if lines := stream(); !strings.HasPrefix(lines[len(lines)-1], "committed") {
		t.Errorf("the client is told %q", lines)
	}
	l.replaced(1)
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestBinaryThatLies: one that says that it can go on, and cannot. The supervisor
// is gone, as if it had been killed: the generation serves on, and the next one
// takes it over.
func TestBinaryThatLies(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	first := l.serves()
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.answered(run, 20)
	if _, err := l.client.Reexec(t.Context(), script(t, `if [ "$1" = run ]; then exit 7; fi; echo '{"state":1}'`)); !errors.Is(err, control.ErrLost) {
		t.Errorf("the client is told %v", err)
	}
	_ = l.cmd.Wait()
	l.ended = true
	if status := l.cmd.ProcessState.ExitCode(); status != 7 {
		t.Errorf("the liar ended with status %d", status)
	}
	l.answered(run, 20)
	l.start()
	if now := l.serves(); now.Generations[0].PID != first.Generations[0].PID {
		t.Errorf("%+v serves, not %+v", now.Generations, first.Generations)
	}
	l.upgradesOn(program)
	l.noneFailed(run)
	l.stop()
}

// TestRehearsalThatHangs is ended after its limit, with all that it has started.
func TestRehearsalThatHangs(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"hangs":               "echo $$ >&9; exec sleep 100",
		"has a child":         "echo $$ >&9; sleep 100 & sleep 100",
		"does not end either": "trap '' TERM INT HUP; echo $$ >&9; while :; do sleep 100; done",
		"leaves a child":      `echo $$ >&9; sleep 100 & echo '{"state":1}'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, err := os.CreateTemp(t.TempDir(), "state")
			if err != nil {
				t.Fatal(err)
			}
			defer state.Close()
			told := filepath.Join(t.TempDir(), "pid")
			r := rehearsal{path: script(t, "exec 9>"+told+"\n"+text), state: state, limit: 500 * time.Millisecond}
			began := time.Now()
			err = r.play(t.Context())
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if name == "leaves a child" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), "did not show within 500ms that it can go on") {
				t.Errorf("error %v", err)
			}
			group, err := os.ReadFile(told)
			if err != nil {
				t.Fatal(err)
			}
			gone(t, strings.TrimSpace(string(group)))
		})
	}
}

// gone waits until no process of the group runs.
func gone(t *testing.T, group string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(5 * time.Second); ; {
		left := running(t, func(stat []string) bool { return stat[statGroup] == group })
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Errorf("processes are left of group %s: %v", group, left)
			return
		}
	}
}
