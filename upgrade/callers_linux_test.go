package upgrade_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

func TestStepsComeInOrder(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake = 50 * time.Millisecond
	r := start(t, p)
	var phases []upgrade.Phase
	report, err := r.sup.Upgrade(t.Context(), upgrade.Request{WaitDrain: true, Reason: "change 17"}, func(s upgrade.Step) {
		if s.Text == "" || s.Request != 1 {
			t.Errorf("step %+v", s)
		}
		phases = append(phases, s.Phase)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []upgrade.Phase{
		upgrade.PhaseAdmission, upgrade.PhaseStart, upgrade.PhaseReady, upgrade.PhaseOverlap, upgrade.PhaseGate,
		upgrade.PhaseCutOver, upgrade.PhaseCutOver, upgrade.PhaseBake, upgrade.PhaseCommit, upgrade.PhaseDrain,
	}
	if !slices.Equal(phases, want) {
		t.Errorf("steps %v, want %v", phases, want)
	}
	r.wants(report, upgrade.Committed)
	if !report.Drained || report.Cut != 0 || report.CutUnknown || report.Note != "change 17" {
		t.Errorf("report %+v", report)
	}
	var sum float64
	for _, phase := range report.Phases {
		if phase.Phase != upgrade.PhaseDrain { // which comes after the verdict
			sum += phase.Seconds
		}
	}
	if sum > report.DurationSeconds || report.StartupSeconds <= 0 || sum < 0.05 {
		t.Errorf("phases of %v s in all in an upgrade of %v s with a start-up of %v s", sum, report.DurationSeconds, report.StartupSeconds)
	}
	r.stop()
}

func TestUpgradeGoesOnWithoutItsCaller(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	ctx, cancel := context.WithCancel(t.Context())
	slow := program("-start-delay", "200ms")
	_, err := r.sup.Upgrade(ctx, upgrade.Request{Program: &slow}, func(upgrade.Step) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the caller was cancelled", err)
	}
	s := r.await("the verdict", func(s upgrade.Status) bool { return len(s.Reports) == 1 })
	r.wants(s.Reports[0], upgrade.Committed)
	r.stop()
}

func TestTimeoutOfTheCallerIsKept(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake = 20 * time.Second
	r := start(t, p)
	r.lossless(func() {
		never := program("-never-ready")
		r.wants(r.request(upgrade.Request{Program: &never, Timeout: 100 * time.Millisecond}), upgrade.Aborted, "within the 100ms")
		r.wants(r.request(upgrade.Request{Timeout: 600 * time.Millisecond}), upgrade.RolledBack, "within the 600ms")
	})
	r.stop()
}

func TestRollbackUndoesTheUpgradeUnderWay(t *testing.T) {
	t.Parallel()
	p := quick()
	p.Bake = 20 * time.Second
	r := start(t, p)
	r.lossless(func() {
		reports := make(chan upgrade.Report, 1)
		go func() { reports <- r.upgrade() }() // joined by the receive below
		r.await("the bake", func(s upgrade.Status) bool { return s.Phase == upgrade.PhaseBake })
		back, err := r.sup.Rollback(t.Context(), upgrade.Request{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.wants(back, upgrade.Committed, "was undone")
		r.wants(<-reports, upgrade.RolledBack, "a rollback was requested")
		// Whoever asked and lost the connection asks again.
		again, err := r.sup.Await(t.Context(), back.Request, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.wants(again, upgrade.Committed, "was undone")
	})
	r.stop()
}

func TestRollbackRefusesAReplacedRelease(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	app := t.TempDir() + "/app"
	copyFile := func() {
		text, err := os.ReadFile(misbehave)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(app+".new", text, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(app+".new", app); err != nil {
			t.Fatal(err)
		}
	}
	copyFile()
	p := upgrade.Program{Command: []string{app}}
	r.wants(r.request(upgrade.Request{Program: &p}), upgrade.Committed)
	copyFile()
	r.wants(r.request(upgrade.Request{}), upgrade.Committed)
	back, err := r.sup.Rollback(t.Context(), upgrade.Request{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.wants(back, upgrade.Refused, "has been replaced")
	r.stop()
}

func TestNobodyIsLeftWaitingAtTheEnd(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.stop()
	if _, err := r.sup.Upgrade(t.Context(), upgrade.Request{}, nil); !errors.Is(err, upgrade.ErrEnded) {
		t.Errorf("an upgrade after the end: %v", err)
	}
	if _, err := r.sup.Status(t.Context()); !errors.Is(err, upgrade.ErrEnded) {
		t.Errorf("the status after the end: %v", err)
	}
	if err := r.sup.Stop(t.Context(), true); err != nil {
		t.Errorf("a stop after the end: %v", err)
	}
}

func TestStatusIsPlainJSON(t *testing.T) {
	t.Parallel()
	r := start(t, quick())
	r.wants(r.upgrade(), upgrade.Committed)
	s := r.await("the drain's end", func(s upgrade.Status) bool { return len(s.Generations) == 1 })
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again upgrade.Status
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if g := active(again); g == nil || g.Generation != 2 || g.PID == 0 || g.Release.Path == "" || len(again.Reports) != 1 {
		t.Errorf("status %s", text)
	}
	r.stop()
}

// TestThousandListeners hands 1,000 listeners to each of three generations.
func TestThousandListeners(t *testing.T) {
	t.Parallel()
	var listeners []fdpass.Listener
	for i := range 1000 {
		spec, err := listen.ParseSpec(fmt.Sprintf("l%d=tcp://127.0.0.1:0", i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			spec.Name = "http"
		}
		socket, err := listen.Open(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
		l, err := fdpass.Describe(spec.Name, socket.FD)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	sup, err := upgrade.New(upgrade.Config{Program: program(), Policy: quick(),
		Launcher: upgrade.NewLauncher(upgrade.LauncherConfig{Service: "test", Listeners: listeners, BaseEnv: os.Environ()})})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(t.Context()) }() // joined by the receive below
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if s, err := sup.Status(t.Context()); err != nil || active(s) != nil {
			tick.Stop()
			break
		}
	}
	for range 2 {
		report, err := sup.Upgrade(t.Context(), upgrade.Request{}, nil)
		if err != nil || report.Verdict != upgrade.Committed {
			t.Fatalf("%s: %s (%v)", report.Verdict, report.Reason, err)
		}
	}
	conn, err := net.Dial("tcp", listeners[999].Address) // nobody serves it, but it is there
	if err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
	if err := sup.Stop(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestProbeThatTakesTooLongSaysWhatItSaw: the reason is what the probe saw
// last, not only that the time was up.
func TestProbeThatTakesTooLongSaysWhatItSaw(t *testing.T) {
	t.Parallel()
	p := quick()
	p.ReadyTimeout = 500 * time.Millisecond
	r := startWatched(t, p, patientProber{})
	r.wants(r.upgrade("-unhealthy"), upgrade.Aborted, "503")
	r.stop()
}

// patientProber probes for as long as it is let.
type patientProber struct{ prober }

func (p patientProber) Ready(ctx context.Context, t upgrade.Target) error {
	return health.Poll(ctx, p.probe(t), 10*time.Millisecond)
}
