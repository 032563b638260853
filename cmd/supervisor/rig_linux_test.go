package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// A rig is a supervisor in a process of its own, with a client of it. Its
// generations are processes of their own too, examples/misbehave by default.
type rig struct {
	testing.TB
	socket  string // the control socket
	client  *control.Client
	program string // examples/misbehave
	log     string // the file that all of them write to
	target  string // of load: the first listener
	stop    func() // ends all; the end of the test does so too
}

// setup is how a rig is set up. The zero value is misbehave behaving, on TCP.
type setup struct {
	listen  string   // the one listener
	flags   []string // of supervisor run, which win over the rig's own
	program []string // what to run first
}

// startRig starts a supervisor and returns when its first generation is active.
func startRig(tb testing.TB, misbehave string, s setup) *rig {
	tb.Helper()
	dir, err := os.MkdirTemp("", "sv") // short enough for a socket
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{TB: tb, program: misbehave, socket: filepath.Join(dir, "run", "control.sock"), log: filepath.Join(dir, "log")}
	r.client = control.NewClient(r.socket)
	listen := s.listen
	if listen == "" {
		listen = "http=tcp://127.0.0.1:0"
	}
	args := []string{
		"run", "--name", "web", "--run-dir", filepath.Dir(r.socket), "--listen", strings.ReplaceAll(listen, "$DIR", dir),
		"--bake", "600ms", "--drain-timeout", "10s", "--stop-grace", "500ms", "--log-level", "debug",
	}
	program := s.program
	if program == nil {
		program = []string{misbehave}
	}
	cmd := exec.Command("supervisor", append(append(append(args, s.flags...), "--"), program...)...)
	log, err := os.Create(r.log)
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() {
		r.end(cmd)
		if tb.Failed() {
			tb.Logf("%s", r.logged())
		}
		_ = os.RemoveAll(dir)
	})
	tb.Cleanup(r.stop)
	status := r.await("an active generation", func(s upgrade.Status) bool {
		return len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive
	})
	r.target = "http://" + status.Listeners[0].Address
	if path, unix := strings.CutPrefix(listen, "http=unix://"); unix {
		r.target = "unix://" + strings.ReplaceAll(path, "$DIR", dir)
	}
	return r
}

// end stops the supervisor and all its generations at once.
func (r *rig) end(cmd *exec.Cmd) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.client.Stop(ctx, true); err != nil {
		r.Errorf("cannot stop the supervisor: %v", err)
		_ = cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil {
		r.Errorf("the supervisor ended badly: %v", err)
	}
}

func (r *rig) logged() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// await polls the status until ok says so.
func (r *rig) await(what string, ok func(upgrade.Status) bool) (status upgrade.Status) {
	r.Helper()
	var err error
	r.poll(what, func() bool {
		status, err = r.client.Status(r.Context())
		return err == nil && ok(status)
	})
	return status
}

// awaitQueue polls the listener's queue until ok says so.
func (r *rig) awaitQueue(what string, ok func(queue.Listener) bool) (l queue.Listener) {
	r.Helper()
	r.poll(what, func() bool {
		l = r.queue()
		return ok(l)
	})
	return l
}

// stands reports whether connections have waited for long.
func stands(l queue.Listener) bool { return l.OldestSeconds != nil && *l.OldestSeconds > 0.2 }

func isEmpty(l queue.Listener) bool { return l.Depth != nil && *l.Depth == 0 }

// poll asks until ok, with a short pause.
func (r *rig) poll(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

// queue is what the supervisor shows of the only listener.
func (r *rig) queue() queue.Listener {
	r.Helper()
	s, err := r.client.Queue(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if len(s.Listeners) != 1 {
		r.Fatalf("%d listeners: %+v", len(s.Listeners), s.Listeners)
	}
	return s.Listeners[0]
}

// drops is how many packets the kernel has discarded at the listener so far, as
// the kernel itself tells the test.
func (r *rig) drops() uint64 {
	r.Helper()
	all, err := health.NamespaceListeners()
	if err != nil {
		r.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l health.NamespaceListener) bool { return "http://"+l.Address == r.target })
	if i < 0 {
		r.Fatalf("there is no listener %s", r.target)
	}
	return uint64(all[i].Drops)
}

// upgrade upgrades to misbehave with these flags, and waits until whoever lost
// its role has ended.
func (r *rig) upgrade(flags ...string) upgrade.Report {
	r.Helper()
	return r.attempt(r.to(flags...), nil)
}

// to is a request for misbehave with these flags.
func (r *rig) to(flags ...string) upgrade.Request {
	return upgrade.Request{Program: &upgrade.Program{Command: append([]string{r.program}, flags...)}, WaitDrain: true}
}

// attempt upgrades; entered, if set, is called when a phase begins.
func (r *rig) attempt(q upgrade.Request, entered func(upgrade.Phase)) upgrade.Report {
	r.Helper()
	return r.ask(upgrade.KindUpgrade, q, entered)
}

func (r *rig) ask(kind upgrade.Kind, q upgrade.Request, entered func(upgrade.Phase)) upgrade.Report {
	r.Helper()
	last := upgrade.PhaseIdle
	report, err := r.client.Attempt(r.Context(), kind, q, func(_ []byte, l control.Line) {
		if entered != nil && l.Step != nil && l.Step.Phase != last {
			last = l.Step.Phase
			entered(last)
		}
	})
	if err != nil {
		r.Fatal(err)
	}
	short := report
	short.Output = nil
	r.Logf("%s", strings.ReplaceAll(verdictInWords(short), "\n", "; "))
	return report
}

// committed is upgrade where nothing speaks against it.
func (r *rig) committed(flags ...string) upgrade.Report {
	r.Helper()
	report := r.upgrade(flags...)
	if report.Verdict != upgrade.Committed {
		r.Fatalf("%s (%s), want committed", report.Verdict, report.Reason)
	}
	return report
}

// command runs the command and returns what it says and its exit status.
func (r *rig) command(words ...string) (output string, status int) {
	r.Helper()
	out, err := exec.Command("supervisor", append([]string{words[0], "--socket", r.socket}, words[1:]...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	r.Logf("%s", out)
	return string(out), status
}

// arrivals sends new connections, so many a second, each with one request that
// is never repeated.
func (r *rig) arrivals(perSecond float64) *load.Run {
	r.Helper()
	return r.load(load.Traffic{Pattern: load.NewConnection, Rate: perSecond})
}

// burst sends so many new connections at once.
func (r *rig) burst(connections uint64) *load.Run {
	r.Helper()
	return r.send(load.Config{Requests: connections, Traffic: []load.Traffic{{Pattern: load.NewConnection, Rate: 1e6}}})
}

func (r *rig) load(traffic ...load.Traffic) *load.Run {
	r.Helper()
	return r.send(load.Config{Traffic: traffic})
}

// send starts traffic of small requests. Clients are patient: a connection
// whose packets the kernel drops comes through when they are sent again.
func (r *rig) send(c load.Config) *load.Run {
	r.Helper()
	c.Target, c.Duration, c.Timeout = r.target, time.Minute, 15*time.Second
	for i := range c.Traffic {
		t := &c.Traffic[i]
		if t.Path == "" && r.program != "" {
			t.Method, t.Path, t.PayloadBytes, t.Echo = http.MethodPost, "/echo", 64, true
		}
	}
	run, err := load.Start(context.WithoutCancel(r.Context()), c)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { run.Stop() })
	return run
}

// answered waits until so many more requests have been answered.
func (r *rig) answered(run *load.Run, more uint64) {
	r.Helper()
	want := run.Snapshot().OK + more
	r.poll("answers", func() bool { return run.Snapshot().OK >= want })
}

// failed stops the traffic and returns how many requests failed. None may if
// most is 0.
func (r *rig) failed(run *load.Run, most uint64) load.Report {
	r.Helper()
	report := run.Stop()
	r.Logf("%d requests, %d failed", report.Requests, report.Failed)
	if report.Failed > most || report.OK == 0 {
		r.Errorf("%d of %d requests failed, want at most %d: %+v", report.Failed, report.Requests, most, report.Traffic[0].Failures)
	}
	return report
}

// noDrops fails the test if the kernel has dropped a client's packet since the
// start. Its counter moves with stray packets too, which the supervisor sifts.
func (r *rig) noDrops() {
	r.Helper()
	counted := r.drops()
	if counted == 0 {
		return
	}
	<-time.After(time.Second) // for the supervisor to look
	if l := r.queue(); l.Drops == nil || *l.Drops > 0 {
		r.Errorf("the kernel dropped %d packets of connecting clients", counted)
	} else {
		r.Logf("%d stray packets", counted)
	}
}

// misbehaveIn builds examples/misbehave for a test.
func misbehaveIn(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(buildExamples(tb), "misbehave")
}
