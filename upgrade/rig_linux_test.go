package upgrade_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/leaktest"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// misbehave is the path of the program that all the tests run: a service with
// a flag for every way in which a candidate can be bad.
var misbehave string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Getenv(envKnock) != "" {
		return knock()
	}
	dir, err := os.MkdirTemp("", "upgrade-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	misbehave = filepath.Join(dir, "misbehave")
	if out, err := exec.Command("go", "build", "-o", misbehave, "example.com/supervisor/examples/misbehave").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build examples/misbehave: %v\n%s", err, out)
		return 1
	}
	before := leaktest.Open()
	code := m.Run()
	if code == 0 {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if left := leftovers(before); left != "" {
			fmt.Fprintln(os.Stderr, "the tests left behind:", left)
			return 1
		}
	}
	return code
}

// isOurs tells what a descriptor leads to from what the runtime has opened.
func isOurs(target string) bool {
	return !strings.Contains(target, "eventpoll") && !strings.Contains(target, "eventfd") && !strings.HasPrefix(target, "/proc/")
}

// leftovers waits a moment for descriptors and children to go.
func leftovers(before map[int]string) string {
	var left []string
	for range 100 {
		left = leaktest.Since(before, isOurs)
		for _, pid := range children() {
			left = append(left, "process "+pid)
		}
		if len(left) == 0 {
			return ""
		}
		<-time.After(20 * time.Millisecond)
	}
	return strings.Join(left, ", ")
}

// children are the processes that this one has started and not reaped.
func children() []string {
	var all []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}

// rig is a supervisor of real processes, in this process, on one TCP listener.
type rig struct {
	t      testing.TB
	sup    *upgrade.Supervisor
	url    string
	runDir string
	stderr string // path
	log    *syncBuffer

	ended chan struct{}
	err   error // of Run; read after ended
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// quick is a policy for tests: short where waiting proves nothing.
func quick() upgrade.Policy {
	return upgrade.Policy{
		ReadyTimeout: 5 * time.Second, PauseTimeout: time.Second, DrainTimeout: 5 * time.Second, StopGrace: time.Second,
		BackoffMin: 50 * time.Millisecond, BackoffMax: 400 * time.Millisecond, MaxDraining: 100,
	}
}

// launch starts a supervisor and does not wait for its first generation.
func launch(t testing.TB, p upgrade.Policy, flags ...string) *rig {
	t.Helper()
	return launchWatched(t, p, prober{}, flags...)
}

func launchWatched(t testing.TB, p upgrade.Policy, w upgrade.Watcher, flags ...string) *rig {
	t.Helper()
	return launchWith(t, upgrade.Config{Policy: p, Watcher: w}, flags...)
}

// launchWith fills in what is the rig's own.
func launchWith(t testing.TB, cfg upgrade.Config, flags ...string) *rig {
	t.Helper()
	spec, err := listen.ParseSpec("http=tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listen.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := fdpass.Describe(socket.Name, socket.FD)
	if err != nil {
		t.Fatal(err)
	}
	runDir, err := os.MkdirTemp("", "run-") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, url: "http://" + listener.Address, runDir: runDir, stderr: stderr.Name(), log: &syncBuffer{}, ended: make(chan struct{})}
	closeOnce := sync.OnceFunc(func() { _ = socket.Close() })
	cfg.Service, cfg.Program, cfg.Logger = "test", program(flags...), slog.New(slog.NewTextHandler(r.log, nil))
	cfg.Launcher = upgrade.NewLauncher(upgrade.LauncherConfig{
		Service: "test", Listeners: []fdpass.Listener{listener}, Close: closeOnce, RunDir: runDir,
		BaseEnv: os.Environ(), Stdout: stderr, Stderr: stderr, StatsInterval: 50 * time.Millisecond,
	})
	r.sup, err = upgrade.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		r.err = r.sup.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.ended
		closeOnce()
		_ = stderr.Close()
		if left, _ := os.ReadDir(runDir); len(left) > 0 {
			t.Errorf("left in the run directory: %v", left)
		}
		_ = os.RemoveAll(runDir)
		if t.Failed() {
			out, _ := os.ReadFile(r.stderr)
			t.Logf("supervisor:\n%s\nservice:\n%.4000s", r.log, out)
		}
	})
	return r
}

// start is launch, and waits for the first generation to be active.
func start(t testing.TB, p upgrade.Policy, flags ...string) *rig {
	t.Helper()
	return startWatched(t, p, prober{}, flags...)
}

func startWatched(t testing.TB, p upgrade.Policy, w upgrade.Watcher, flags ...string) *rig {
	t.Helper()
	r := launchWatched(t, p, w, flags...)
	r.await("an active generation", func(s upgrade.Status) bool { return active(s) != nil })
	return r
}

func program(flags ...string) upgrade.Program {
	return upgrade.Program{Command: append([]string{misbehave}, flags...)}
}

func active(s upgrade.Status) *upgrade.GenerationStatus { return byRole(s, upgrade.RoleActive) }

func byRole(s upgrade.Status, role upgrade.Role) *upgrade.GenerationStatus {
	i := slices.IndexFunc(s.Generations, func(g upgrade.GenerationStatus) bool { return g.Role == role })
	if i < 0 {
		return nil
	}
	return &s.Generations[i]
}

// await polls the status until ok says so.
func (r *rig) await(what string, ok func(upgrade.Status) bool) upgrade.Status {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(15 * time.Second)
	for {
		s, err := r.sup.Status(r.t.Context())
		if err != nil {
			r.t.Fatalf("waiting for %s: %v (%v)", what, err, r.err)
		}
		if ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("waited in vain for %s: %+v", what, s)
		}
	}
}

// upgrade upgrades to misbehave with other flags.
func (r *rig) upgrade(flags ...string) upgrade.Report {
	r.t.Helper()
	p := program(flags...)
	return r.request(upgrade.Request{Program: &p})
}

func (r *rig) request(q upgrade.Request) upgrade.Report {
	r.t.Helper()
	report, err := r.sup.Upgrade(r.t.Context(), q, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// wants fails the test unless the report has this verdict, with a reason that
// has these words.
func (r *rig) wants(report upgrade.Report, v upgrade.Verdict, words ...string) {
	r.t.Helper()
	if report.Verdict != v {
		r.t.Fatalf("verdict %s (%s), want %s", report.Verdict, report.Reason, v)
	}
	for _, w := range words {
		if !strings.Contains(report.Reason, w) {
			r.t.Errorf("reason %q, want %q in it", report.Reason, w)
		}
	}
}

// underLoad does something while clients send requests, and returns how these
// fared: new connections at a fixed rate and keep-alive connections, both with
// POSTs that are never retried, and slow requests in flight.
func (r *rig) underLoad(do func()) load.Report {
	r.t.Helper()
	post := load.Traffic{Method: http.MethodPost, Path: "/echo", PayloadBytes: 64, Echo: true}
	fresh, kept, slow := post, post, load.Traffic{Name: "slow", Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=150"}
	fresh.Name, fresh.Pattern, fresh.Rate = "new", load.NewConnection, 200
	kept.Name, kept.Pattern, kept.Rate, kept.Clients = "kept", load.KeepAlive, 50, 4
	run, err := load.Start(r.t.Context(), load.Config{Target: r.url, Traffic: []load.Traffic{fresh, kept, slow}, Duration: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	do()
	report := run.Stop()
	if report.OK == 0 {
		r.t.Fatal("no request was answered")
	}
	return report
}

// lossless is underLoad where nothing may fail.
func (r *rig) lossless(do func()) {
	r.t.Helper()
	r.noneFailed(r.underLoad(do))
}

func (r *rig) noneFailed(report load.Report) {
	r.t.Helper()
	r.t.Logf("%d requests, %d failed", report.Requests, report.Failed)
	if report.Failed > 0 {
		r.t.Errorf("%d of %d requests failed: %s", report.Failed, report.Requests, failures(report))
	}
}

func failures(report load.Report) string {
	var b strings.Builder
	for _, traffic := range report.Traffic {
		for _, f := range traffic.Failures {
			fmt.Fprintf(&b, "%s: %d %s: %+v; ", traffic.Name, f.Count, f.Kind, f.First)
		}
	}
	return b.String()
}

// stop ends the supervisor and expects that it ends well.
func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.sup.Stop(ctx, false); err != nil {
		r.t.Fatal(err)
	}
	<-r.ended
	if r.err != nil {
		r.t.Errorf("the supervisor ended with: %v", r.err)
	}
}

// prober is the Watcher of the tests.
type prober struct{}

func (prober) probe(t upgrade.Target) health.HTTP {
	return health.HTTP{Socket: t.ProbeSocket, Path: "/healthz", Timeout: time.Second}
}

func (prober) Begin(uint64)                                          {}
func (prober) Admit(context.Context, upgrade.Admission) error        { return nil }
func (prober) Pace(context.Context, upgrade.Target, func(hold bool)) {}
func (prober) Check(context.Context, upgrade.Admission) error        { return nil }
func (prober) Account(uint64, bool) []upgrade.QueueAccount           { return nil }

func (p prober) Ready(ctx context.Context, t upgrade.Target) error {
	if t.ProbeSocket == "" {
		return errors.New("it has no probe socket")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return health.Poll(ctx, p.probe(t), 10*time.Millisecond)
}

func (p prober) Gate(ctx context.Context, t upgrade.Target) (string, error) {
	return "the gate is open", health.Settle(ctx, p.probe(t), 10*time.Millisecond, 30*time.Millisecond)
}

func (p prober) Bake(ctx context.Context, t upgrade.Target) error {
	return health.Watch(ctx, p.probe(t), 20*time.Millisecond, 2)
}

// dial opens a connection and sends one slow request on it, which is in flight
// when dial returns; answer reads its status.
func (r *rig) slowRequest(d time.Duration) (answer func() (int, error)) {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/slow?ms=%d", r.url, d.Milliseconds()), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := request.Write(conn); err != nil {
		r.t.Fatal(err)
	}
	return func() (int, error) {
		defer conn.Close()
		return readStatus(conn, request)
	}
}
