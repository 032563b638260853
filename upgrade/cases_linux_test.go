package upgrade_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

func readStatus(conn net.Conn, request *http.Request) (int, error) {
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

func TestUpgradesUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.lossless(func() {
		for range 5 {
			r.wants(r.upgrade(), upgrade.Committed)
		}
	})
	r.stop()
}

// TestBadCandidateIsAborted: each way of being bad before the cut-over, and
// what the reason says of it.
func TestBadCandidateIsAborted(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		name, reason string
		flags        []string
	}{
		{"exits before hello", "exited with status 3", []string{"-exit-before-hello", "3"}},
		{"crashes before ready", "exited with status", []string{"-crash-before-ready"}},
		{"panics", "exited with status 2", []string{"-panic"}},
		{"hangs before hello", "does the program speak the protocol", []string{"-hang-before-hello"}},
		{"hangs before ready", "did not say ready within", []string{"-hang-before-ready"}},
		{"never ready", "did not say ready within", []string{"-never-ready"}},
		{"says failed", "no database", []string{"-fail", "no database"}},
		{"speaks another protocol version", "version 9", []string{"-protocol", "9"}},
		{"returns wrong cookies", "cookie", []string{"-wrong-cookies"}},
		{"is unhealthy", "did not pass its probe", []string{"-unhealthy"}},
		{"ready and exit together", "exited with status", []string{"-ready-then-exit"}},
		{"sends garbage", "broke the protocol", []string{"-garbage"}},
		{"closes its channel", "closed its channel", []string{"-close-channel"}},
		{"floods its channel", "broke the protocol", []string{"-flood-channel"}},
		{"hangs and ignores SIGTERM", "did not say ready within", []string{"-never-ready", "-ignore-term"}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			p := quick()
			p.ReadyTimeout, p.Overlap = 3*time.Second, 500*time.Millisecond
			r := start(t, p)
			r.lossless(func() {
				report := r.upgrade(bad.flags...)
				r.wants(report, upgrade.Aborted, bad.reason)
				r.await("the candidate's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
				r.wants(r.upgrade(), upgrade.Committed)
			})
			r.stop()
		})
	}
}

func TestBadProgramIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o644); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.lossless(func() {
		for path, want := range map[string]struct {
			verdict upgrade.Verdict
			reason  string
		}{
			filepath.Join(dir, "missing"): {upgrade.Refused, "no such file"},
			"/bin/true":                   {upgrade.Aborted, "exited with status 0; it never said hello"},
			plain:                         {upgrade.Refused, "not executable"},
			dir:                           {upgrade.Refused, "is a directory"},
			junk:                          {upgrade.Aborted, "exec format error"},
		} {
			r.wants(r.request(upgrade.Request{Program: &upgrade.Program{Command: []string{path}}}), want.verdict, want.reason)
		}
		r.wants(r.upgrade(), upgrade.Committed)
	})
	r.stop()
}

func TestUnhealthyInTheBakeIsRolledBack(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		name, reason string
		flags        []string
	}{
		{"turns unhealthy", "503", []string{"-unhealthy-after", "300ms"}},
		{"says failed", "says that it failed", []string{"-fail-after", "300ms"}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			p := quick()
			p.Bake = 10 * time.Second
			r := start(t, p)
			r.lossless(func() {
				r.wants(r.upgrade(bad.flags...), upgrade.RolledBack, bad.reason)
				s := r.await("the bad one's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
				if g := active(s); g == nil || g.Generation != 1 {
					t.Errorf("active is %+v, want generation 1", g)
				}
			})
			r.stop()
		})
	}
}

// onlyHeld checks that nothing failed but requests that the dead generation
// held: their connections broke. Nobody was refused, nobody waited in vain.
func (r *rig) onlyHeld(report load.Report, most uint64) {
	r.t.Helper()
	r.t.Logf("%d requests, %d failed: %s", report.Requests, report.Failed, failures(report))
	if report.Failed > most {
		r.t.Errorf("%d requests failed, want at most the %d that one generation can hold: %s", report.Failed, most, failures(report))
	}
	for kind, count := range report.FailedByKind {
		if kind != load.Reset && kind != load.EOF {
			r.t.Errorf("%d requests failed as %s: %s", count, kind, failures(report))
		}
	}
}

// held is how many requests of underLoad a generation can hold at one moment.
const held = 20

func TestCrashInTheBakeIsRolledBack(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake = 10 * time.Second
	r := start(t, p)
	r.onlyHeld(r.underLoad(func() {
		r.wants(r.upgrade("-crash-after", "300ms"), upgrade.RolledBack, "exited with status")
		r.wants(r.upgrade("-unhealthy"), upgrade.Aborted)
	}), held)
	r.stop()
}

// TestNewOneCrashesWhileTheOldOneDrains: one peer ended with no process.
func TestNewOneCrashesWhileTheOldOneDrains(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	answer := r.slowRequest(2 * time.Second) // keeps generation 1 draining
	r.onlyHeld(r.underLoad(func() {
		r.wants(r.upgrade("-crash-after", "300ms"), upgrade.Committed)
		s := r.await("a restart", func(s upgrade.Status) bool { return s.Restarts == 1 && active(s) != nil })
		if byRole(s, upgrade.RoleDraining) == nil {
			t.Error("generation 1 did not drain to its end")
		}
		r.wants(r.upgrade(), upgrade.Committed)
	}), held)
	if status, err := answer(); status != http.StatusOK {
		t.Errorf("the request in flight got %d, %v", status, err)
	}
	r.stop()
}

// TestThirdCrashesWhileTheFirstDrains: a peer killed the healthy generation 2.
func TestThirdCrashesWhileTheFirstDrains(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	answer := r.slowRequest(2 * time.Second)
	r.lossless(func() {
		r.wants(r.upgrade(), upgrade.Committed)
		r.wants(r.upgrade("-crash-before-ready"), upgrade.Aborted)
		s := r.await("generation 3's end", func(s upgrade.Status) bool { return len(s.Generations) == 2 })
		if g := active(s); g == nil || g.Generation != 2 {
			t.Errorf("active is %+v, want generation 2", g)
		}
		if g := byRole(s, upgrade.RoleDraining); g == nil || g.Generation != 1 {
			t.Errorf("draining is %+v, want generation 1", g)
		}
	})
	if status, err := answer(); status != http.StatusOK {
		t.Errorf("the request in flight got %d, %v", status, err)
	}
	r.stop()
}

func TestUpgradeDuringDrains(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.lossless(func() {
		var answers []func() (int, error)
		for range 4 {
			answers = append(answers, r.slowRequest(1500*time.Millisecond))
			r.wants(r.upgrade(), upgrade.Committed)
		}
		s := r.await("four drains", func(s upgrade.Status) bool { return active(s).Generation == 5 })
		if len(s.Generations) != 5 {
			t.Errorf("%d generations alive, want 5", len(s.Generations))
		}
		for _, answer := range answers {
			if status, err := answer(); status != http.StatusOK {
				t.Errorf("a request in flight got %d, %v", status, err)
			}
		}
	})
	r.stop()
}

func TestTooManyDrainsAreRefused(t *testing.T) {
	t.Parallel()
	p := quick()
	p.MaxDraining = 1
	r := start(t, p)
	answer := r.slowRequest(700 * time.Millisecond)
	r.wants(r.upgrade(), upgrade.Committed)
	r.wants(r.upgrade(), upgrade.Refused, "generations (1) have not ended")
	if status, err := answer(); status != http.StatusOK {
		t.Errorf("the request in flight got %d, %v", status, err)
	}
	r.await("the drain's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
	r.wants(r.upgrade(), upgrade.Committed)
	r.stop()
}

func TestTwoUpgradesAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.lossless(func() {
		reports := make(chan upgrade.Report, 8)
		var callers sync.WaitGroup
		for range cap(reports) {
			callers.Go(func() { reports <- r.upgrade("-start-delay", "300ms") })
		}
		callers.Wait()
		close(reports)
		count := map[upgrade.Verdict]int{}
		for report := range reports {
			count[report.Verdict]++
			if report.Verdict == upgrade.Refused && !strings.Contains(report.Reason, "is running") {
				t.Errorf("refused with %q", report.Reason)
			}
		}
		if count[upgrade.Committed] != 1 || count[upgrade.Refused] != 7 {
			t.Errorf("verdicts %v, want one committed and seven refused", count)
		}
	})
	r.stop()
}

func TestCrashedActiveIsRestartedAndClientsWait(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.onlyHeld(r.underLoad(func() {
		s := r.await("the first", func(upgrade.Status) bool { return true })
		if err := syscall.Kill(active(s).PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.await("a restart", func(s upgrade.Status) bool { return s.Restarts == 1 && active(s) != nil })
	}), held)
	r.stop()
}

func TestUpgradeWhileTheActiveIsDown(t *testing.T) {
	t.Parallel()
	p := quick()
	p.BackoffMin, p.BackoffMax = 10*time.Second, 10*time.Second
	r := start(t, p)
	r.onlyHeld(r.underLoad(func() {
		s := r.await("the first", func(upgrade.Status) bool { return true })
		if err := syscall.Kill(active(s).PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.await("the back-off", func(s upgrade.Status) bool { return s.Restart != nil && active(s) == nil })
		r.wants(r.upgrade("-unhealthy"), upgrade.Aborted)
		r.wants(r.upgrade(), upgrade.Committed, "promoted at once")
	}), held)
	r.stop()
}

// TestCrashLoopBacksOff: a service that cannot live is not started in a spin.
func TestCrashLoopBacksOff(t *testing.T) {
	t.Parallel()
	r := start(t, quick(), "-crash-after", "100ms")
	began := time.Now()
	s := r.await("five restarts", func(s upgrade.Status) bool { return s.Restarts == 5 })
	// 50, 100, 200, 400 and 400 ms, each halved at the least by the jitter.
	if took := time.Since(began); took < 575*time.Millisecond {
		t.Errorf("five restarts took only %v", took)
	}
	if s.Reports == nil && len(s.Generations) > 2 {
		t.Errorf("%d generations pile up", len(s.Generations))
	}
	r.stop()
}

func TestFirstGenerationNeverReadyEndsTheSupervisor(t *testing.T) {
	t.Parallel()
	p := quick()
	p.ReadyTimeout = 300 * time.Millisecond
	for flag, reason := range map[string]string{
		"-never-ready":        "did not say ready within 300ms",
		"-crash-before-ready": "exited with status",
		"-fail=no disk":       "no disk",
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			r := launch(t, p, flag)
			<-r.ended
			if r.err == nil || !strings.Contains(r.err.Error(), reason) {
				t.Errorf("ended with %v, want %q in it", r.err, reason)
			}
		})
	}
}

func TestManyFailuresPreventNothing(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake, p.GateTimeout = 150*time.Millisecond, 2*time.Second
	r := start(t, p)
	r.lossless(func() {
		for range 3 {
			r.wants(r.upgrade("-crash-before-ready"), upgrade.Aborted)
			r.wants(r.upgrade("-fail", "x"), upgrade.Aborted)
			// On a busy machine it may be unhealthy before the gate opens.
			if report := r.upgrade("-unhealthy-after", "50ms"); report.Verdict != upgrade.RolledBack && report.Verdict != upgrade.Aborted {
				t.Errorf("verdict %s (%s) of one that turns unhealthy", report.Verdict, report.Reason)
			}
			r.wants(r.upgrade(), upgrade.Committed)
		}
	})
	r.stop()
}

func TestActiveThatIgnoresPause(t *testing.T) {
	t.Parallel()
	p := quick()
	p.PauseTimeout = 200 * time.Millisecond
	r := start(t, p, "-ignore-pause", "-ignore-resume")
	r.lossless(func() {
		r.wants(r.upgrade(), upgrade.Aborted, "did not pause")
		program := program()
		r.wants(r.request(upgrade.Request{Program: &program, Force: true}), upgrade.Committed, "as forced")
	})
	r.stop()
}

func TestOldOneThatDoesNotResumeIsStartedAgain(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake, p.PauseTimeout = 10*time.Second, 300*time.Millisecond
	r := start(t, p, "-ignore-resume")
	r.lossless(func() {
		r.wants(r.upgrade("-unhealthy-after", "200ms"), upgrade.RolledBack, "did not resume", "as generation 3")
	})
	r.stop()
}

func TestDrainDeadlineIsKept(t *testing.T) {
	t.Parallel()
	p := quick()
	p.DrainTimeout, p.StopGrace = 300*time.Millisecond, 300*time.Millisecond
	for name, flags := range map[string][]string{"drains": nil, "ignores the drain": {"-ignore-drain", "-ignore-term"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, p, flags...)
			answer := r.slowRequest(20 * time.Second)
			program := program()
			report := r.request(upgrade.Request{Program: &program, WaitDrain: true})
			r.wants(report, upgrade.Committed)
			if !report.Drained || report.Cut == 0 && !report.CutUnknown {
				t.Errorf("the report does not tell of the connection that was cut: %+v", report)
			}
			if status, err := answer(); err == nil {
				t.Errorf("a request far beyond the deadline got %d", status)
			}
			r.stop()
		})
	}
}

func TestStopInEveryPhaseLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, phase := range []struct {
		name  string
		flags []string
		seen  upgrade.Phase
	}{
		{"idle", nil, upgrade.PhaseIdle},
		{"start", []string{"-never-ready"}, upgrade.PhaseStart},
		{"start, ignoring SIGTERM", []string{"-never-ready", "-ignore-term"}, upgrade.PhaseStart},
		{"ready", []string{"-unhealthy"}, upgrade.PhaseReady},
		{"overlap", []string{}, upgrade.PhaseOverlap},
		{"gate", []string{}, upgrade.PhaseGate},
		{"bake", []string{}, upgrade.PhaseBake},
	} {
		t.Run(phase.name, func(t *testing.T) {
			t.Parallel()
			p := quick()
			p.Bake = 20 * time.Second
			if phase.seen == upgrade.PhaseOverlap {
				p.Overlap = 20 * time.Second
			}
			p.StopGrace = 300 * time.Millisecond
			watcher := upgrade.Watcher(patientProber{})
			if phase.seen == upgrade.PhaseGate {
				watcher = shutGate{}
			}
			r := startWatched(t, p, watcher)
			answer := r.slowRequest(500 * time.Millisecond)
			reports := make(chan upgrade.Report, 1)
			if phase.flags != nil {
				go func() { reports <- r.upgrade(phase.flags...) }() // joined by the receive below
			}
			r.await("phase "+string(phase.seen), func(s upgrade.Status) bool { return s.Phase == phase.seen })
			r.stop()
			if phase.flags != nil {
				if report := <-reports; report.Verdict == upgrade.Committed || !strings.Contains(report.Reason, "stop") {
					t.Errorf("the caller was told %s: %s", report.Verdict, report.Reason)
				}
			}
			if status, err := answer(); status != http.StatusOK {
				t.Errorf("the request in flight got %d, %v", status, err)
			}
			if conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
				conn.Close()
				t.Error("somebody still listens")
			}
		})
	}
}

// shutGate is a prober whose gate does not open.
type shutGate struct{ prober }

func (shutGate) Gate(ctx context.Context, _ upgrade.Target) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func TestStopDuringTheBackOff(t *testing.T) {
	t.Parallel()
	p := quick()
	p.BackoffMin, p.BackoffMax = time.Minute, time.Minute
	r := start(t, p)
	s := r.await("the first", func(upgrade.Status) bool { return true })
	if err := syscall.Kill(active(s).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.await("the back-off", func(s upgrade.Status) bool { return s.Restart != nil && active(s) == nil })
	r.stop()
}

func TestGrandchildrenEndWithTheirGeneration(t *testing.T) {
	t.Parallel()
	r := start(t, quick(), "-grandchild")
	group := active(r.await("the first", func(upgrade.Status) bool { return true })).PID
	r.lossless(func() { r.wants(r.upgrade(), upgrade.Committed) })
	r.await("the drain's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
	gone := func() bool { return syscall.Kill(-group, 0) == syscall.ESRCH }
	for late := time.Now().Add(5 * time.Second); !gone(); {
		if time.Now().After(late) {
			t.Fatal("a grandchild outlives its generation")
		}
		<-time.After(5 * time.Millisecond)
	}
	r.stop()
}

func TestSymlinkedReleaseIsResolvedAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(misbehave, filepath.Join(dir, v, "app")); err != nil {
			t.Fatal(err)
		}
	}
	current := filepath.Join(dir, "current")
	if err := os.Symlink("v1", current); err != nil {
		t.Fatal(err)
	}
	r := start(t, quick())
	app := upgrade.Program{Command: []string{filepath.Join(current, "app")}}
	r.lossless(func() {
		r.wants(r.request(upgrade.Request{Program: &app}), upgrade.Committed)
		swap := filepath.Join(dir, "next")
		if err := os.Symlink("v2", swap); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(swap, current); err != nil {
			t.Fatal(err)
		}
		report := r.request(upgrade.Request{})
		r.wants(report, upgrade.Committed)
		if want := filepath.Join(dir, "v2", "app"); report.ToRelease.Path != want {
			t.Errorf("runs %s, want %s", report.ToRelease.Path, want)
		}
		back, err := r.sup.Rollback(t.Context(), upgrade.Request{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.wants(back, upgrade.Committed)
		if want := filepath.Join(dir, "v1", "app"); back.ToRelease.Path != want {
			t.Errorf("rolled back to %s, want %s", back.ToRelease.Path, want)
		}
		if err := os.RemoveAll(filepath.Join(dir, "v2")); err != nil {
			t.Fatal(err)
		}
		r.wants(r.request(upgrade.Request{Program: &app}), upgrade.Refused, "no such file")
	})
	r.stop()
}

func TestFailedCandidatesOutputIsReported(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	report := r.upgrade("-panic")
	r.wants(report, upgrade.Aborted)
	if text := strings.Join(report.Output, "\n"); !strings.Contains(text, "goroutine") {
		t.Errorf("output %q, want the stack of the panic", text)
	}
	r.stop()
}

// liveHeap is the memory in use after a collection.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHundredUpgradesTenASecond counts under load and looks for what is left.
func TestHundredUpgradesTenASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	r := start(t, quick())
	r.wants(r.upgrade(), upgrade.Committed)
	before, heap := len(leaktest.Open()), liveHeap()
	r.lossless(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := range 100 {
			<-tick.C
			report := r.upgrade("-version", fmt.Sprint(i))
			r.wants(report, upgrade.Committed)
		}
		r.await("the drains' end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
	})
	if n := len(children()); n != 1 {
		t.Errorf("%d children, want 1", n)
	}
	if grown := liveHeap() - heap; grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	// The load's own descriptors are gone by now; a few belong to the runtime.
	if after := leaktest.Open(); len(after) > before+2 {
		t.Errorf("%d descriptors, %d before: %v", len(after), before, after)
	}
	if sockets, _ := os.ReadDir(r.runDir); len(sockets) != 1 {
		t.Errorf("%d sockets in the run directory, want 1", len(sockets))
	}
	r.stop()
}

// TestHangInTheBakeIsRolledBack stops the candidate with SIGSTOP: without a
// probe, only its silence at the end of the bake can tell.
func TestHangInTheBakeIsRolledBack(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake, p.PauseTimeout, p.StopGrace, p.DrainTimeout = 500*time.Millisecond, 300*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	r := startWatched(t, p, nil)
	reports := make(chan upgrade.Report, 1)
	go func() { reports <- r.upgrade() }() // joined by the receive below
	s := r.await("the bake", func(s upgrade.Status) bool { return s.Phase == upgrade.PhaseBake })
	if err := syscall.Kill(active(s).PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.wants(<-reports, upgrade.RolledBack, "did not answer")
	s = r.await("the hung one's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
	if g := active(s); g == nil || g.Generation != 1 {
		t.Errorf("active is %+v, want generation 1", g)
	}
	r.stop()
}
