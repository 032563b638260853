package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// unspoken is for how long a program has to live that has no word for being ready.
const unspoken = 200 * time.Millisecond

// freeAddress is one that nobody listens at: some of these programs are told
// theirs in a file.
func freeAddress(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.1:0", 64+pid>>8&63, pid&255)) // where no outgoing connection takes its port
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A supervised is a site's program below a supervisor.
type supervised struct {
	*site
	binary string // of the supervisor
	cmd    *exec.Cmd
	log    string
	ended  bool
}

// supervise starts a supervisor with the site's program and waits until that is
// active.
func (s *site) supervise(binary string, flags ...string) *supervised {
	s.Helper()
	u := &supervised{site: s, binary: binary, log: filepath.Join(s.dir, "log")}
	args := []string{
		"run", "--name", "web", "--run-dir", filepath.Join(s.dir, "run"),
		"--settle", "20ms", "--bake", "50ms", "--queue", "*:off", "--backoff-min", "10ms", "--drain-timeout", "10s",
	}
	if !s.verbatim {
		args = append(args, "--listen", "http=tcp://"+s.address, "--protocol", s.protocol)
	}
	if s.quiet && !s.verbatim {
		args = append(args, "--ready", unspoken.String())
	}
	args = append(append(append(append(args, s.flags...), flags...), "--"), s.words()...)
	log, err := os.Create(u.log)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	u.cmd = exec.Command(binary, args...)
	u.cmd.Stdout, u.cmd.Stderr, u.cmd.Dir = log, log, s.dir
	if err := u.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(u.end)
	u.await("an active generation", func(st status) bool { return st.active() > 0 })
	return u
}

// end stops it at once, if the test has not.
func (u *supervised) end() {
	if !u.ended {
		_, _ = u.command("stop", "--now")
		u.waits()
	}
	if u.Failed() {
		text, _ := os.ReadFile(u.log)
		u.Logf("%s", text)
	}
}

// waits waits for the supervisor's end.
func (u *supervised) waits() {
	u.ended = true
	late := time.AfterFunc(patience, func() { _ = u.cmd.Process.Kill() })
	defer late.Stop()
	if err := u.cmd.Wait(); err != nil {
		u.Errorf("the supervisor of %s ended badly: %v", u.name, err)
	}
}

// stop stops it as a service manager would.
func (u *supervised) stop() {
	u.Helper()
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		u.Error(err)
	}
	u.waits()
}

// command runs a command of the supervisor.
func (u *supervised) command(words ...string) (string, error) {
	args := append([]string{words[0], "--socket", filepath.Join(u.dir, "run", "control.sock")}, words[1:]...)
	out, err := exec.Command(u.binary, args...).CombinedOutput()
	return string(out), err
}

// A status is what "supervisor status" tells, as far as the tests ask.
type status struct {
	Generations []struct {
		Generation int
		Role       string
		PID        int
	}
}

// active is the number of the active generation; 0 if there is none.
func (s status) active() int {
	for _, g := range s.Generations {
		if g.Role == "active" {
			return g.Generation
		}
	}
	return 0
}

// await polls the status until ok says so.
func (u *supervised) await(what string, ok func(status) bool) (last status) {
	u.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		out, err := u.command("status", "--json")
		if err == nil {
			last = status{}
			err = json.Unmarshal([]byte(out), &last)
		}
		if err == nil && ok(last) {
			return last
		}
		select {
		case <-tick.C:
		case <-late:
			u.Fatalf("waited in vain for %s: %s, %v", what, out, err)
		}
	}
}

// A report is what "supervisor upgrade" tells.
type report struct {
	Verdict string
	Reason  string
}

// upgrade upgrades, to another command if there is one, and waits until the old
// generation has ended.
func (u *supervised) upgrade(command ...string) (r report) {
	u.Helper()
	words := []string{"upgrade", "--json", "--wait-drain"}
	if command != nil {
		words = append(append(words, "--"), command...)
	}
	out, err := u.command(words...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n"))
	var last struct{ Report report }
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Report.Verdict == "" {
		u.Fatalf("no report but %q (%v)", out, err)
	}
	return last.Report
}

// commits is upgrade where nothing speaks against it.
func (u *supervised) commits() {
	u.Helper()
	if r := u.upgrade(); r.Verdict != "committed" {
		u.Fatalf("%s: %s", r.Verdict, r.Reason)
	}
}

// load begins the site's traffic.
func (s *site) load() *load.Run {
	s.Helper()
	target := "http://" + s.address
	if s.traffic[0].Raw {
		target = "tcp://" + s.address
	}
	run, err := load.Start(context.WithoutCancel(s.Context()), load.Config{
		Target: target, Duration: 10 * time.Minute, Timeout: time.Minute, Traffic: s.traffic,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { run.Stop() })
	return run
}

// answered waits until so many more requests have been answered.
func answered(tb testing.TB, run *load.Run, more uint64) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for want := run.Snapshot().OK + more; run.Snapshot().OK < want; {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("no answers: %+v", run.Stop().FailedByKind)
		}
	}
}

// failures says what failed, and how.
func failures(r load.Report) string {
	var all []string
	for _, t := range r.Traffic {
		for _, f := range t.Failures {
			all = append(all, fmt.Sprintf("%s: %d %s (%s)", t.Name, f.Count, f.Kind, f.First[0].Error))
		}
	}
	return strings.Join(all, "; ")
}
