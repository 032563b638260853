package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// A lineage is a supervisor, whoever succeeds it when it is killed, and all that
// they have started: what a shell loop runs.
type lineage struct {
	testing.TB
	dir     string   // holds the run directory, and its name marks all processes
	command string   // that is started; supervisor
	args    []string // its own
	cgroup  string   // the control group in which it is started, if any
	log     string   // the file that all of them write to
	client  *control.Client
	cmd     *exec.Cmd
	ended   bool
	// shims tells that every generation is a shim and its program.
	shims bool
	// keepsDir tells that the run directory stays, empty.
	keepsDir bool
	// held is the listener "http" that the service manager passes; nil if there
	// is none.
	held *os.File
}

// lineageEnv is the variable that marks all processes of a lineage.
const lineageEnv = "SUPERVISOR_TEST_LINEAGE"

// found begins a lineage with a supervisor of that program. It does not wait for
// it. In flags, $DIR is the directory of the lineage.
func found(tb testing.TB, program []string, flags ...string) *lineage {
	tb.Helper()
	l := conceive(tb, program, flags...)
	l.start()
	return l
}

// conceive prepares a lineage; nothing is started yet.
func conceive(tb testing.TB, program []string, flags ...string) *lineage {
	tb.Helper()
	dir, err := os.MkdirTemp("", "sv") // short enough for a socket
	if err != nil {
		tb.Fatal(err)
	}
	l := &lineage{TB: tb, dir: dir, log: filepath.Join(dir, "log"), command: "supervisor", ended: true}
	l.client = control.NewClient(l.socket())
	l.client.Reconnect = patience
	l.args = []string{"run", "--name", "web", "--run-dir", l.runDir(), "--drain-timeout", "5m", "--stop-grace", "500ms", "--log-level", "debug"}
	if !slices.ContainsFunc(flags, aboutQueues) { // that clients wait on a busy machine decides nothing
		l.args = append(l.args, "--queue", "*:off")
	}
	for _, f := range flags {
		l.args = append(l.args, strings.ReplaceAll(f, "$DIR", dir))
	}
	if !slices.Contains(flags, "--listen") {
		l.args = append(l.args, "--listen", "http=tcp://127.0.0.1:0")
	}
	l.args = append(append(l.args, "--"), program...)
	tb.Cleanup(l.bury)
	return l
}

func aboutQueues(flag string) bool { return strings.HasPrefix(flag, "--queue") }

func (l *lineage) runDir() string { return filepath.Join(l.dir, "run") }
func (l *lineage) socket() string { return filepath.Join(l.runDir(), "control.sock") }

// start starts the next supervisor, as the first was started.
func (l *lineage) start() {
	l.Helper()
	out, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.Fatal(err)
	}
	defer out.Close()
	l.cmd = exec.Command(l.command, l.args...)
	l.cmd.Env = append(os.Environ(), lineageEnv+"="+l.dir)
	if l.held != nil { // as the service manager would start it, whose variable names the process
		l.cmd = exec.Command("sh", append([]string{"-c", `export LISTEN_PID=$$; exec supervisor "$@"`, "sh"}, l.args...)...)
		l.cmd.Env = append(os.Environ(), lineageEnv+"="+l.dir, "LISTEN_FDS=1", "LISTEN_FDNAMES=http")
		l.cmd.ExtraFiles = []*os.File{l.held}
	}
	l.cmd.Stdout, l.cmd.Stderr = out, out
	in, done := within(l, l.cgroup)
	defer done()
	l.cmd.SysProcAttr = in
	if err := l.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.ended = false
}

// kill kills the supervisor as kill -9 does.
func (l *lineage) kill() {
	l.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		l.Errorf("the supervisor was gone before it was killed: %v", err)
	}
	_ = l.cmd.Wait()
	l.ended = true
}

// succeed kills the supervisor and starts the next one.
func (l *lineage) succeed() {
	l.Helper()
	l.kill()
	l.start()
}

// bury ends what is left of it when the test does.
func (l *lineage) bury() {
	if !l.ended {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	}
	for _, p := range l.processes() {
		if handle, err := os.FindProcess(p.pid); err == nil { // by pidfd: it is that process or none
			if slices.ContainsFunc(l.processes(), func(q process) bool { return q.pid == p.pid }) {
				_ = handle.Kill()
			}
			_ = handle.Release()
		}
	}
	if l.Failed() {
		l.Logf("%s", l.logged())
	}
	_ = os.RemoveAll(l.dir)
}

func (l *lineage) logged() string {
	text, err := os.ReadFile(l.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// A process is one of a lineage.
type process struct {
	pid     int
	command string
}

// processes are all that live of the lineage: a zombie has no environment.
func (l *lineage) processes() []process {
	var all []process
	entries, err := os.ReadDir("/proc")
	if err != nil {
		l.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !slices.Contains(strings.Split(string(environ), "\x00"), lineageEnv+"="+l.dir) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		all = append(all, process{pid, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))})
	}
	return all
}

// await polls the status until ok says so.
func (l *lineage) await(what string, ok func(upgrade.Status) bool) (status upgrade.Status) {
	l.Helper()
	var err error
	l.poll(what, func() bool {
		status, err = l.client.Status(l.Context())
		return err == nil && ok(status)
	}, func() any { return []any{status, err} })
	return status
}

// poll asks until ok, with a short pause.
func (l *lineage) poll(what string, ok func() bool, last func() any) {
	l.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			l.Fatalf("waited in vain for %s; last: %+v", what, last())
		}
	}
}

// serves waits until the lineage is as it should be between two upgrades: one
// supervisor, the one started last; one generation, active, and nothing else.
func (l *lineage) serves() upgrade.Status {
	l.Helper()
	status := l.await("one active generation", func(s upgrade.Status) bool {
		return s.Phase == upgrade.PhaseIdle && s.PID == l.cmd.Process.Pid && len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive
	})
	l.wantProcesses(status)
	return status
}

// wantProcesses waits until the processes are the supervisor and the generations
// of status, each once.
func (l *lineage) wantProcesses(status upgrade.Status) {
	l.Helper()
	want := []int{status.PID}
	for _, g := range status.Generations {
		want = append(want, g.PID)
	}
	slices.Sort(want)
	l.poll("no other processes", func() bool {
		var have []int
		programs := 0
		for _, p := range l.processes() {
			if !l.shims || slices.Contains(want, p.pid) {
				have = append(have, p.pid)
			} else {
				programs++
			}
		}
		slices.Sort(have)
		return slices.Equal(have, want) && (!l.shims || programs == len(status.Generations))
	}, func() any { return []any{l.processes(), want} })
}

// A pending upgrade is one whose client waits for its verdict.
type pendingUpgrade struct {
	l      *lineage
	done   chan struct{}
	report upgrade.Report
	err    error
}

// upgrade asks for an upgrade to that program.
func (l *lineage) upgrade(program []string, wait bool) *pendingUpgrade {
	p := &pendingUpgrade{l: l, done: make(chan struct{})}
	request := upgrade.Request{Program: &upgrade.Program{Command: program}, WaitDrain: wait}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), 2*patience)
	go func() { // joined by verdict, or by the end of the test
		defer close(p.done)
		defer cancel()
		p.report, p.err = l.client.Attempt(ctx, upgrade.KindUpgrade, request, func([]byte, control.Line) {})
	}()
	l.Cleanup(func() {
		cancel()
		<-p.done
	})
	return p
}

// verdict waits for the report, which must say so.
func (p *pendingUpgrade) verdict(want upgrade.Verdict, words string) {
	p.l.Helper()
	<-p.done
	if p.err != nil || p.report.Verdict != want || !strings.Contains(p.report.Reason, words) {
		p.l.Errorf("the client is told %q (%s), %v; want %q, and %q in its reason", p.report.Verdict, p.report.Reason, p.err, want, words)
	}
	p.l.Logf("the client is told: %s (%s)", p.report.Verdict, p.report.Reason)
}

// upgradesOn expects that an upgrade to that program commits.
func (l *lineage) upgradesOn(program ...string) upgrade.Status {
	l.Helper()
	l.upgrade(program, true).verdict(upgrade.Committed, "")
	return l.serves()
}

// traffic is new connections, kept ones with requests that are never repeated,
// and slow requests in flight, to each of the targets.
func (l *lineage) traffic(targets ...string) *load.Run {
	l.Helper()
	config := load.Config{Target: targets[0], Duration: time.Hour, Timeout: patience}
	for _, target := range targets {
		post := load.Traffic{Target: target, Method: http.MethodPost, Path: "/echo", PayloadBytes: 64, Echo: true}
		fresh, kept := post, post
		fresh.Name, fresh.Pattern, fresh.Rate = "new "+target, load.NewConnection, 60
		kept.Name, kept.Pattern, kept.Rate, kept.Clients = "kept "+target, load.KeepAlive, 15, 3
		slow := load.Traffic{Name: "slow " + target, Target: target, Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=400"}
		config.Traffic = append(config.Traffic, fresh, kept, slow)
	}
	run, err := load.Start(context.WithoutCancel(l.Context()), config)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { run.Stop() })
	return run
}

// noneFailed ends the traffic and expects that every request was answered.
func (l *lineage) noneFailed(run *load.Run) {
	l.Helper()
	report := run.Stop()
	l.Logf("%d requests, %d failed", report.Requests, report.Failed)
	for _, t := range report.Traffic {
		if t.OK == 0 || t.Failed > 0 {
			l.Errorf("%s: %d of %d requests failed: %+v", t.Name, t.Failed, t.Requests, t.Failures)
		}
	}
}

// answered waits until so many more requests have been answered.
func (l *lineage) answered(run *load.Run, more uint64) {
	l.Helper()
	want := run.Snapshot().OK + more
	l.poll("answers", func() bool { return run.Snapshot().OK >= want }, func() any { return run.Snapshot() })
}

// stop stops the service and expects that nothing is left.
func (l *lineage) stop() {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), patience)
	defer cancel()
	if err := l.client.Stop(ctx, false); err != nil {
		l.Errorf("cannot stop: %v", err)
	}
	l.hasEnded()
}

// hasEnded expects that the supervisor ends well, and leaves nothing.
func (l *lineage) hasEnded() {
	l.Helper()
	timer := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	defer timer.Stop()
	if err := l.cmd.Wait(); err != nil {
		l.Errorf("the supervisor ended badly: %v", err)
	}
	l.ended = true
	if left := l.processes(); len(left) > 0 {
		l.Errorf("processes are left: %+v", left)
	}
	if left, err := os.ReadDir(l.runDir()); len(left) > 0 || (err == nil) != l.keepsDir {
		l.Errorf("the run directory is left, with %v: %v", left, err)
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "log" && !(l.keepsDir && e.Name() == "run") {
			l.Errorf("%s is left", e.Name())
		}
	}
}
